"""OpenAI's text completions, the older dialect that many servers still speak."""
