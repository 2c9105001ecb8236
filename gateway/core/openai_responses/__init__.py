"""OpenAI's Responses API: its requests, streams, answers and errors."""
