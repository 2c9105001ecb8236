"""OpenAI's chats and Responses and Anthropic's messages, said as each other: requests, answers, streams and errors.

Pure: bytes in, bytes out. The tables are in docs/translation.md.
"""
