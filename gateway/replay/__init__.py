"""The replay provider: an OpenAI-compatible upstream that answers from recordings or synthetically."""
