"""Plumbing of the process: clock, log, metrics, periodic work."""
