"""Cohere's own embeddings as a dialect. Errors of ours are in OpenAI's shape: Cohere's SDK hands on any."""

from typing import Final

from gateway.core.cohere_embed.request import read_embed_request
from gateway.core.dialect import Dialect
from gateway.core.openai_chat.errors import error_as_it_is, error_body
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.unstreamed.answer import read_unstreamed_answer
from gateway.core.unstreamed.request import no_frames, with_model

COHERE_EMBED: Final = Dialect(
    name="cohere-embed",
    path="/embed",
    read_request=read_embed_request,
    splice=with_model,
    meter=ChatMeter,
    read_answer=read_unstreamed_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=no_frames,
)
