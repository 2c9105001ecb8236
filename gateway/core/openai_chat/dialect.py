"""OpenAI's chat completions as a dialect."""

from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.openai_chat.answer import read_chat_answer
from gateway.core.openai_chat.errors import error_as_it_is, error_body, last_frames
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_chat.request import read_chat_request
from gateway.core.openai_chat.splicing import splice_for

OPENAI_CHAT: Final = Dialect(
    name="openai-chat",
    path="/chat/completions",
    read_request=read_chat_request,
    splice=splice_for,
    meter=ChatMeter,
    read_answer=read_chat_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=last_frames,
    to_upstream=frozenset({"openai-beta"}),
    to_caller=frozenset({"openai-processing-ms", "openai-version"}),
)
