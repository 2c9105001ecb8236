"""Google's Gemini API: content that is generated, and embeddings."""
