"""Gemini's API as two dialects: what generates content, and what embeds it."""

from functools import partial
from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.gemini.address import KEY_PARAMETER, routes_of
from gateway.core.gemini.answer import read_generate_answer
from gateway.core.gemini.embed import BATCH_EMBED, EMBED, read_embed_answer, read_embed_request
from gateway.core.gemini.embed import path_of as embed_path_of
from gateway.core.gemini.errors import error_body, error_in_gemini, last_frames
from gateway.core.gemini.meter import GenerateMeter
from gateway.core.gemini.request import COUNT, GENERATE, STREAM, read_generate_request
from gateway.core.gemini.request import path_of as generate_path_of
from gateway.core.gemini.splicing import splice_embed, splice_generate

KEY_HEADER: Final = "x-goog-api-key"
COUNT_ROUTES: Final = routes_of(COUNT)
MODELS_PATH: Final = "/models"

GEMINI_GENERATE: Final = Dialect(
    name="gemini-generate",
    path=MODELS_PATH,
    routes=routes_of(GENERATE, STREAM),
    path_of=generate_path_of,
    read_request=partial(read_generate_request, ""),
    read_at=read_generate_request,
    splice=splice_generate,
    meter=GenerateMeter,
    read_answer=read_generate_answer,
    error=error_in_gemini,
    error_body=error_body,
    last_frames=last_frames,
    key_header=KEY_HEADER,
    key_parameter=KEY_PARAMETER,
)
GEMINI_EMBED: Final = Dialect(
    name="gemini-embed",
    path=MODELS_PATH,
    routes=routes_of(EMBED, BATCH_EMBED),
    path_of=embed_path_of,
    read_request=partial(read_embed_request, ""),
    read_at=read_embed_request,
    splice=splice_embed,
    meter=GenerateMeter,
    read_answer=read_embed_answer,
    error=error_in_gemini,
    error_body=error_body,
    last_frames=last_frames,
    key_header=KEY_HEADER,
    key_parameter=KEY_PARAMETER,
)
