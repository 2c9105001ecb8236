"""Cohere's own embeddings (its second version)."""
