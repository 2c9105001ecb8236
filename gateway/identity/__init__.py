"""Organisations and API keys, hashed; a short bounded cache."""
