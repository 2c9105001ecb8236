"""Tollgate: a reverse proxy between applications and LLM providers that makes every call pay its way."""

__version__ = "0.1.0"
