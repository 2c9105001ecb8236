"""HTTP out, to the providers."""
