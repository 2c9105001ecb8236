"""Ranking documents by a query, as Cohere, Voyage, Jina and those after them have it."""
