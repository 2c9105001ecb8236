"""OpenAI's Responses said as Anthropic's messages, and back, through a chat that nobody sees.

That chat may say what no provider's chat takes: thoughts, texts and calls of one turn keep their order, as messages
(of a request), choices (of an answer) or chunks (of a stream) that follow each other. Whatever is refused on the second
half of the way is named as the caller has spelled it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseEvent, SseParser
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.fields import Translated
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget, chat_request_to_responses
from gateway.core.translation.responses.requests_to_chat import responses_request_to_chat
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages

RESPONSES_NAME: Final = {
    "messages[].reasoning_details": "input[].encrypted_content",
    "messages[].reasoning_content": "input[].content",
    "messages[].content[].image_url.url": "input[].content[].image_url",
    "messages[].content[].file.file_data": "input[].content[].file_data",
    "messages[].content": "input[].content",
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "logprobs": "include",
    "tools[].function": "tools[]",
    "tool_choice.function": "tool_choice",
}
"""What a Responses request calls what its chat calls so; the longest that fits. Everything else has one name."""
MESSAGES_NAME: Final = {
    "messages[].reasoning_details": "messages[].content[].signature",
    "messages[].reasoning_content": "messages[].content[].thinking",
    "messages[].tool_calls": "messages[].content",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "thinking",
    "response_format.json_schema": "output_config.format",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "tools[].function.parameters": "tools[].input_schema",
    "tools[].function": "tools[]",
    "tool_choice.function": "tool_choice",
}
"""The same of a request for messages."""

_CHAT: Final = ChatTarget(in_order=True)
_INDEX: Final = re.compile(r"\[\d+\]")


# --- requests -------------------------------------------------------------------------------------------------------


def responses_request_to_messages(body: bytes, target: MessagesTarget, *, drop_unsupported: bool = False) -> Translated:
    """Raises InvalidRequest, whose `param` names the field, for what is malformed and, unless `drop_unsupported`, for
    what the messages dialect cannot say."""
    chat = responses_request_to_chat(body, _CHAT, drop_unsupported=drop_unsupported)
    with _named_by(RESPONSES_NAME):
        made = request_to_messages(chat.body, target, drop_unsupported=drop_unsupported)
    return _with(made, chat.dropped, RESPONSES_NAME)


def messages_request_to_responses(
    body: bytes, target: ResponsesTarget, *, drop_unsupported: bool = False
) -> Translated:
    """Raises InvalidRequest, whose `param` names the field, for what is malformed and, unless `drop_unsupported`, for
    what the Responses dialect cannot say."""
    chat = request_to_chat(body, _CHAT, drop_unsupported=drop_unsupported)
    with _named_by(MESSAGES_NAME):
        made = chat_request_to_responses(chat.body, target, drop_unsupported=drop_unsupported)
    return _with(made, chat.dropped, MESSAGES_NAME)


@contextmanager
def _named_by(names: Mapping[str, str]) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        if error.param is None:
            raise
        name = _renamed(error.param, names)
        said = str(error).replace(f"`{error.param}`", f"`{name}`")
        renamed = InvalidRequest(said, param=name)
        renamed.reason = error.reason
        raise renamed from None


def _renamed(param: str, names: Mapping[str, str]) -> str:
    """A name without indices where it changes: they count what the caller has not written."""
    bare = _INDEX.sub("[]", param)
    found = [name for name in names if bare == name or bare.startswith((f"{name}.", f"{name}[", f"{name}="))]
    if not found:
        return param
    name = max(found, key=len)
    return names[name] + bare.removeprefix(name)


def _with(made: Translated, dropped: tuple[str, ...], names: Mapping[str, str]) -> Translated:
    late = [_renamed(param, names) for param in made.dropped]
    return Translated(made.body, tuple(dict.fromkeys((*dropped, *late))))


# --- whole answers --------------------------------------------------------------------------------------------------


def responses_answer_to_messages(body: bytes) -> Translated:
    """What the messages dialect cannot say is left out and listed. Raises UnreadableAnswer."""
    chat = responses_answer_to_chat(body, in_pieces=True)
    made = answer_to_messages(chat.body)
    return Translated(made.body, (*chat.dropped, *made.dropped))


def messages_answer_to_responses(body: bytes, *, created: int, request: bytes | None = None) -> Translated:
    """`created` as in answer_to_chat, `request` as in chat_answer_to_responses. Raises UnreadableAnswer."""
    chat = answer_to_chat(body, created=created, in_pieces=True)
    made = chat_answer_to_responses(chat.body, request=request)
    return Translated(made.body, (*chat.dropped, *made.dropped))


# --- streams --------------------------------------------------------------------------------------------------------


class _FromChat(Protocol):
    finished: bool
    failed: bool

    @property
    def dropped(self) -> tuple[str, ...]: ...
    def feed(self, event: SseEvent) -> bytes: ...
    def close(self) -> bytes: ...


class _ThroughChat:
    """Two streams, one behind the other."""

    def __init__(self, to_chat: StreamToChat | ResponsesStreamToChat, from_chat: _FromChat) -> None:
        self._to_chat = to_chat
        self._from_chat = from_chat
        self._chunks = SseParser()

    @property
    def finished(self) -> bool:
        """The end was said."""
        return self._from_chat.finished

    @property
    def failed(self) -> bool:
        """An error was said. If neither holds at its end, the stream broke off, and its reader can see that."""
        return self._from_chat.failed

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the other dialect could not say so far."""
        return tuple(dict.fromkeys((*self._to_chat.dropped, *self._from_chat.dropped)))

    def feed(self, event: SseEvent) -> bytes:
        chunks = self._chunks.feed(self._to_chat.feed(event))
        return b"".join([self._from_chat.feed(chunk) for chunk in chunks])

    def close(self) -> bytes:
        """Nothing: both dialects have an end of their own, and a stream without one broke off."""
        return b""


class ResponsesStreamToMessages(_ThroughChat):
    """Feed it every event in order; it answers with the bytes of whole events, often none.

    Raises UnreadableAnswer for data that is no event of its dialect, and for more than can be held back.
    """

    def __init__(self) -> None:
        super().__init__(ResponsesStreamToChat(include_usage=True, in_pieces=True), StreamToMessages())


class MessagesStreamToResponses(_ThroughChat):
    """The same of Anthropic's events. `created` as in StreamToChat, `request` as in chat_answer_to_responses."""

    def __init__(self, *, created: int, request: bytes | None = None) -> None:
        to_chat = StreamToChat(created=created, include_usage=True, in_pieces=True)
        super().__init__(to_chat, ChatStreamToResponses(request=request))
