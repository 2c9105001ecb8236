"""Changing a request where it must change, and leaving every other byte as the client sent it.

The model stands in the path; a body that repeats it has it changed as well.
"""

from typing import Final

import msgspec

from gateway.core.dialect import Habits
from gateway.core.edits import Edit, edited
from gateway.core.gemini.embed import BATCH_EMBED, EmbedRequest
from gateway.core.gemini.request import COUNT, GenerateRequest
from gateway.core.gemini.spelling import snake_case
from gateway.core.json_object import spans_of

_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BRACKET: Final = b"["
_BETWEEN: Final = b" \t\r\n,"


def splice_generate(request: GenerateRequest, model: str, _: Habits, send_limit: int | None) -> tuple[bytes, bool]:
    """The body with another model and with its output limited; else byte for byte. Usage always comes unasked.

    A limit is never raised; where the body sets none it is added, with its `generationConfig` if that is missing.
    """
    body = request.body
    limit = request.output_limit
    lower = send_limit is not None and (limit is None or send_limit < limit)
    if not lower and model == request.model:
        return body, False
    edits: list[Edit] = []
    if model != request.model:
        edits += _renamed(body, 0, len(body), model)
        if request.action == COUNT and (inner := _span(body, 0, len(body), "generateContentRequest")):
            edits += _renamed(body, *inner, model)
    if lower:
        edits.append(_limited(body, b"%d" % (send_limit or 0)))
    return edited(body, edits), False


def splice_embed(request: EmbedRequest, model: str, _: Habits, _limit: int | None) -> tuple[bytes, bool]:
    """The body with another model, once for each request of a batch; else byte for byte."""
    body = request.body
    if model == request.model:
        return body, False
    edits = _renamed(body, 0, len(body), model)
    if request.action == BATCH_EMBED and (requests := _span(body, 0, len(body), "requests")):
        for start, end in _items(body, *requests):
            edits += _renamed(body, start, end, model)
    return edited(body, edits), False


def _renamed(body: bytes, start: int, end: int, model: str) -> list[Edit]:
    named = _span(body, start, end, "model")
    return [(*named, msgspec.json.encode(f"models/{model.removeprefix('models/')}"))] if named is not None else []


def _limited(body: bytes, tokens: bytes) -> Edit:
    config = _span(body, 0, len(body), "generationConfig")
    if config is None:
        return _added(body, 0, b'"generationConfig":{"maxOutputTokens":%b}' % tokens)
    start, end = config
    if body[start:end] == b"null":
        return start, end, b'{"maxOutputTokens":%b}' % tokens
    limit = _span(body, start, end, "maxOutputTokens")
    return (*limit, tokens) if limit is not None else _added(body, start, b'"maxOutputTokens":%b' % tokens)


def _added(body: bytes, at: int, field: bytes) -> Edit:
    """First in the object that begins there or, but for white space, behind it."""
    start = body.index(b"{", at) + 1
    rest = body[start : start + 1].strip() or body[start:].lstrip()[:1]
    return start, start, field if rest == b"}" else field + b","


def _span(body: bytes, start: int, end: int, name: str) -> tuple[int, int] | None:
    """Where the value of a key stands, in either of its spellings, in the object that stands there."""
    text = body[start:end]
    if not text.lstrip().startswith(b"{"):
        return None
    spans = spans_of(text)
    found = spans.get(name) or spans.get(snake_case(name))
    return None if found is None else (start + found[0], start + found[1])


def _items(body: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Where each item of the array that stands there stands; an object in its place is its one item."""
    text = body[start:end]
    if not text.startswith(_BRACKET):
        return [(start, end)]
    spans = []
    at = 1
    for item in _RAWS.decode(text):
        while text[at] in _BETWEEN:
            at += 1
        size = len(memoryview(item))
        spans.append((start + at, start + at + size))
        at += size
    return spans
