"""Errors of the Responses dialect: their bodies are a chat's, which OpenAI gives in both."""

from gateway.core.translation.errors import ErrorAnswer, error_to_chat, error_to_messages


def responses_error_to_chat(status: int, body: bytes) -> ErrorAnswer:
    """As it came."""
    return ErrorAnswer(status, body)


def chat_error_to_responses(status: int, body: bytes) -> ErrorAnswer:
    """As it came."""
    return ErrorAnswer(status, body)


def messages_error_to_responses(status: int, body: bytes) -> ErrorAnswer:
    return error_to_chat(status, body)


def responses_error_to_messages(status: int, body: bytes, *, request_id: str | None = None) -> ErrorAnswer:
    return error_to_messages(status, body, request_id=request_id)
