"""Ranking documents as a dialect. Errors of ours are in OpenAI's shape."""

from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.openai_chat.errors import error_as_it_is, error_body
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.rerank.request import read_rerank_request
from gateway.core.unstreamed.answer import read_unstreamed_answer
from gateway.core.unstreamed.request import no_frames, with_model

RERANK: Final = Dialect(
    name="rerank",
    path="/rerank",
    read_request=read_rerank_request,
    splice=with_model,
    meter=ChatMeter,
    read_answer=read_unstreamed_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=no_frames,
)
