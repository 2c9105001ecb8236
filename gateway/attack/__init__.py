"""The adversary: known cheats and faults, tried on a running gateway through its public API, and what they gained."""
