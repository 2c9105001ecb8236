"""OpenAI's embeddings, as many providers speak them."""
