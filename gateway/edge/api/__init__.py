"""The administrative API, one module a noun."""
