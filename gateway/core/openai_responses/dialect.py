"""OpenAI's Responses API as a dialect."""

from operator import attrgetter
from typing import Final

from gateway.core.dialect import Dialect, Storage
from gateway.core.openai_chat.errors import error_as_it_is, error_body
from gateway.core.openai_responses.answer import read_response
from gateway.core.openai_responses.errors import last_frames
from gateway.core.openai_responses.meter import ResponsesMeter
from gateway.core.openai_responses.request import read_responses_request
from gateway.core.openai_responses.splicing import splice_for
from gateway.core.openai_responses.storage import is_ended, kept_by_answer

OPENAI_RESPONSES: Final = Dialect(
    name="openai-responses",
    path="/responses",
    read_request=read_responses_request,
    splice=splice_for,
    meter=ResponsesMeter,
    read_answer=read_response,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=last_frames,
    to_upstream=frozenset({"openai-beta"}),
    to_caller=frozenset({"openai-processing-ms", "openai-version"}),
    storage=Storage(
        references=attrgetter("references"),
        background=attrgetter("background"),
        keeps=attrgetter("stores"),
        kept_by_stream=ResponsesMeter.take_kept,
        kept_by_answer=kept_by_answer,
        is_ended=is_ended,
    ),
)
