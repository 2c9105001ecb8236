"""OpenAI's embeddings as a dialect."""

from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.openai_chat.errors import error_as_it_is, error_body
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_embeddings.request import read_embeddings_request
from gateway.core.unstreamed.answer import read_unstreamed_answer
from gateway.core.unstreamed.request import no_frames, with_model

OPENAI_EMBEDDINGS: Final = Dialect(
    name="openai-embeddings",
    path="/embeddings",
    read_request=read_embeddings_request,
    splice=with_model,
    meter=ChatMeter,
    read_answer=read_unstreamed_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=no_frames,
    to_upstream=frozenset({"openai-beta"}),
    to_caller=frozenset({"openai-processing-ms", "openai-version"}),
)
