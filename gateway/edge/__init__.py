"""HTTP in. Reads, calls one room, renders; decides nothing."""
