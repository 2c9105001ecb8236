"""OpenAI's moderations as a dialect. OpenAI reports no usage and takes nothing; what is charged elsewhere is estimated
unless it is reported."""

from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.openai_chat.errors import error_as_it_is, error_body
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_moderations.request import read_moderations_request
from gateway.core.unstreamed.answer import read_unstreamed_answer
from gateway.core.unstreamed.request import no_frames, with_model

OPENAI_MODERATIONS: Final = Dialect(
    name="openai-moderations",
    path="/moderations",
    read_request=read_moderations_request,
    splice=with_model,
    meter=ChatMeter,
    read_answer=read_unstreamed_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=no_frames,
    to_upstream=frozenset({"openai-beta"}),
    to_caller=frozenset({"openai-processing-ms", "openai-version"}),
)
