"""OpenAI's chat completions said as Anthropic's messages, and back: requests, answers, streams and errors.

Pure: bytes in, bytes out. The tables are in docs/translation.md.
"""
