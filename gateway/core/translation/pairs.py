"""Which dialect can be said as which other one, and how: a table of pairs, each with its four functions."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import ErrorAnswer, error_to_chat, error_to_messages
from gateway.core.translation.fields import Translated
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.errors import (
    chat_error_to_responses,
    messages_error_to_responses,
    responses_error_to_chat,
    responses_error_to_messages,
)
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget, chat_request_to_responses
from gateway.core.translation.responses.requests_to_chat import responses_request_to_chat
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.responses.through_chat import (
    MessagesStreamToResponses,
    ResponsesStreamToMessages,
    messages_answer_to_responses,
    messages_request_to_responses,
    responses_answer_to_messages,
    responses_request_to_messages,
)
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from gateway.core.translation.untold_usage import answer_with_usage, chunk_of_usage
from gateway.core.usage import Usage


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the model that is asked, and its provider, can do, as far as it decides how a request is said to them."""

    output_limit_default: int
    """In tokens: where the request sets none and the provider's dialect must have one."""
    adaptive_thinking: bool
    extended_chat: bool
    """Its chat knows what OpenRouter and others have added to OpenAI's."""
    output_limit_field: str


class StreamTranslator(Protocol):
    """Raises UnreadableAnswer for what is no event of the provider's dialect."""

    def feed(self, event: SseEvent) -> bytes:
        """Each event in order → the bytes of whole events, often none."""

    def close(self) -> bytes:
        """The provider's answer has ended → what that completes."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """From a caller's dialect to a provider's, and back. Pure."""

    provider: DialectName
    request: Callable[[bytes, Abilities, bool], Translated]
    """True: what cannot be said is dropped. Raises InvalidRequest."""
    answer: Callable[[bytes, int], Translated]
    """The whole answer and the second it began in. Raises UnreadableAnswer."""
    stream: Callable[[Any, int], StreamTranslator]
    """For the answer to a request, of which the facts in the caller's dialect are given; and the second."""
    error: Callable[[int, bytes, str], ErrorAnswer]
    """An answer of 400 or above, and our id of the call."""

    def counted(self, body: bytes, usage: Usage) -> bytes:
        """A whole answer that lacks its usage, with our count in its place."""
        return answer_with_usage(body, usage) if self.provider == "openai-chat" else body

    def counted_event(self, usage: Usage) -> SseEvent | None:
        """What tells our count in a stream that lacks its usage, before its end; None: there each stream has it."""
        return chunk_of_usage(usage) if self.provider == "openai-chat" else None


def _chat(abilities: Abilities) -> ChatTarget:
    return ChatTarget(extended=abilities.extended_chat, output_limit_field=abilities.output_limit_field)


def _messages(abilities: Abilities) -> MessagesTarget:
    return MessagesTarget(
        max_tokens_default=abilities.output_limit_default, adaptive_thinking=abilities.adaptive_thinking
    )


_RESPONSES: Final = ResponsesTarget()


TRANSLATIONS: Final[Mapping[DialectName, tuple[Translation, ...]]] = {
    "openai-chat": (
        Translation(
            provider="anthropic-messages",
            request=lambda body, able, drop: request_to_messages(body, _messages(able), drop_unsupported=drop),
            answer=lambda body, unix_s: answer_to_chat(body, created=unix_s),
            stream=lambda facts, unix_s: StreamToChat(created=unix_s, include_usage=facts.include_usage),
            error=lambda status, body, _: error_to_chat(status, body),
        ),
        Translation(
            provider="openai-responses",
            request=lambda body, _, drop: chat_request_to_responses(body, _RESPONSES, drop_unsupported=drop),
            answer=lambda body, _: responses_answer_to_chat(body),
            stream=lambda facts, _: ResponsesStreamToChat(include_usage=facts.include_usage),
            error=lambda status, body, _: responses_error_to_chat(status, body),
        ),
    ),
    "anthropic-messages": (
        Translation(
            provider="openai-chat",
            request=lambda body, able, drop: request_to_chat(body, _chat(able), drop_unsupported=drop),
            answer=lambda body, _: answer_to_messages(body),
            stream=lambda _facts, _unix_s: StreamToMessages(),
            error=lambda status, body, call_id: error_to_messages(status, body, request_id=call_id),
        ),
        Translation(
            provider="openai-responses",
            request=lambda body, _, drop: messages_request_to_responses(body, _RESPONSES, drop_unsupported=drop),
            answer=lambda body, _: responses_answer_to_messages(body),
            stream=lambda _facts, _unix_s: ResponsesStreamToMessages(),
            error=lambda status, body, call_id: responses_error_to_messages(status, body, request_id=call_id),
        ),
    ),
    "openai-responses": (
        Translation(
            provider="openai-chat",
            request=lambda body, able, drop: responses_request_to_chat(body, _chat(able), drop_unsupported=drop),
            answer=lambda body, _: chat_answer_to_responses(body),
            stream=lambda facts, _: ChatStreamToResponses(request=facts.body),
            error=lambda status, body, _: chat_error_to_responses(status, body),
        ),
        Translation(
            provider="anthropic-messages",
            request=lambda body, able, drop: responses_request_to_messages(
                body, _messages(able), drop_unsupported=drop
            ),
            answer=lambda body, unix_s: messages_answer_to_responses(body, created=unix_s),
            stream=lambda facts, unix_s: MessagesStreamToResponses(created=unix_s, request=facts.body),
            error=lambda status, body, _: messages_error_to_responses(status, body),
        ),
    ),
}
"""By the caller's dialect; of those that a provider speaks the first is taken that can say what was asked."""
