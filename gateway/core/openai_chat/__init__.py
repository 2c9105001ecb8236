"""OpenAI's chat completions, as many providers speak them."""
