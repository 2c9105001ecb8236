"""The recipe of one call; no SQL, no HTTP library."""
