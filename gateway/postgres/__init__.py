"""Plumbing of the database that knows no domain."""
