"""OpenAI's Responses said as chat completions and back; as Anthropic's messages and back through a chat.

The tables are in docs/translation.md.
"""
