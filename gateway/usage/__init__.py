"""Reads the ledger's call rows."""
