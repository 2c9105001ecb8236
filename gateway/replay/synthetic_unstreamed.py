"""Embeddings, verdicts and rankings invented on the spot, in the shapes of those who make them."""

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.dialect import DialectName
from gateway.replay.directions import Directions
from gateway.replay.request import BadRequest, fingerprint, number_of, object_of
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic import ABSURD_TOKENS, JSON
from gateway.replay.text import number_from, tokens_of

DIMENSIONS: Final = 8
DIMENSIONS_MAX: Final = 4_096
DOCUMENTS_OF_A_UNIT: Final = 100
_CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_encode: Final = msgspec.json.Encoder().encode


class UnstreamedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that decide an answer."""

    dialect: DialectName
    model: str
    fields: Mapping[str, Any]
    inputs: list[str]
    """The text of each; empty where it has none."""
    prompt_tokens: int
    fingerprint: int
    stream: bool = False


class _Shape(msgspec.Struct, frozen=True):
    inputs: str
    """The field that holds them."""
    id: str
    """What ids begin with."""
    answer: Callable[[UnstreamedRequest, str, int, int], dict[str, Any]]
    """Of the request, an id, the prompt's tokens and a seed."""


def read_unstreamed_request(body: bytes, dialect: DialectName) -> UnstreamedRequest:
    """Raises BadRequest."""
    fields = object_of(body)
    name = _SHAPES[dialect].inputs
    inputs, tokens = _inputs(fields.get(name), name)
    if dialect == "rerank":
        if not isinstance(query := fields.get("query"), str):
            raise BadRequest("query must be a text.", "query")
        tokens += len(inputs) * len(tokens_of(query))
    return UnstreamedRequest(
        dialect=dialect,
        model=fields["model"],
        fields=fields,
        inputs=inputs,
        prompt_tokens=tokens,
        fingerprint=fingerprint(fields),
    )


def _inputs(value: object, name: str) -> tuple[list[str], int]:
    """The texts of each, and about a quarter of their characters; a token number is a token."""
    if isinstance(value, str):
        return [value], len(tokens_of(value))
    if not isinstance(value, list) or not value:
        raise BadRequest(f"{name} must be a text or an array.", name)
    if isinstance(value[0], int):
        return [""], len(value)
    texts = [each.get("text", "") if isinstance(each, dict) else each for each in value]
    tokens = sum(len(tokens_of(each)) if isinstance(each, str) else len(each) for each in texts)
    return [each if isinstance(each, str) else "" for each in texts], tokens


def synthesize_unstreamed(request: UnstreamedRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else."""
    shape = _SHAPES[request.dialect]
    seed = directions.seed if directions.seed is not None else seed
    tokens = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    id = f"{shape.id}-{number_from(seed, request.fingerprint):016x}"
    reported = -ABSURD_TOKENS if directions.usage == "absurd" else tokens
    body = shape.answer(request, id, reported, seed)
    if directions.usage == "no":
        body = {name: value for name, value in body.items() if name not in ("usage", "meta")}
    return Script(
        id=id,
        model=request.model,
        headers=JSON,
        streamed=False,
        pieces=[_encode(body)],
        piece_tokens=[0],
        usage_piece=0 if directions.usage == "yes" and request.dialect != "openai-moderations" else None,
        tokens=Tokens(prompt_tokens=tokens),
        dialect=request.dialect,
    )


def _vectors(request: UnstreamedRequest, seed: int, size: int) -> list[list[float]]:
    """Numbers of single precision from -1 to 1; the same for the same text and model."""
    return [
        [number_from(seed, request.model, text, at) % 2_001 / 1_024 - 0.9765625 for at in range(size)]
        for text in request.inputs
    ]


def _embeddings(request: UnstreamedRequest, _id: str, tokens: int, seed: int) -> dict[str, Any]:
    size = number_of(request.fields, "dimensions", 1, DIMENSIONS_MAX) or DIMENSIONS
    packed = request.fields.get("encoding_format") == "base64"
    rows = []
    for index, vector in enumerate(_vectors(request, seed, size)):
        value = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector
        rows.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": request.model, "usage": usage}


def _embed(request: UnstreamedRequest, id: str, tokens: int, seed: int) -> dict[str, Any]:
    size = number_of(request.fields, "output_dimension", 1, DIMENSIONS_MAX) or DIMENSIONS
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}}
    return {
        "id": id,
        "texts": request.inputs,
        "embeddings": {"float": _vectors(request, seed, size)},
        "response_type": "embeddings_by_type",
        "meta": meta,
    }


def _moderations(request: UnstreamedRequest, id: str, _tokens: int, seed: int) -> dict[str, Any]:
    """OpenAI reports no usage. Parts of texts and images are judged together."""
    value = request.fields.get("input")
    together = isinstance(value, list) and isinstance(value[0], dict)
    results = []
    for text in request.inputs[:1] if together else request.inputs:
        scores = {name: number_from(seed, text, name) % 1_000 / 1e6 for name in _CATEGORIES}
        results.append({"flagged": False, "categories": dict.fromkeys(_CATEGORIES, False), "category_scores": scores})
    return {"id": id, "model": request.model, "results": results}


def _ranking(request: UnstreamedRequest, id: str, tokens: int, seed: int) -> dict[str, Any]:
    """In tokens as Voyage and Jina bill it, and in units as Cohere does."""
    query = str(request.fields["query"])
    scores = [(number_from(seed, query, text) % 10_001 / 10_000, at) for at, text in enumerate(request.inputs)]
    ranked = sorted(scores, key=lambda scored: (-scored[0], scored[1]))
    most = number_of(request.fields, "top_n", 1, len(ranked) * 1_000) or len(ranked)
    results = []
    for score, at in ranked[:most]:
        document = {"document": {"text": request.inputs[at]}} if request.fields.get("return_documents") else {}
        results.append({"index": at, "relevance_score": score, **document})
    units = -(-len(request.inputs) // DOCUMENTS_OF_A_UNIT) if tokens >= 0 else tokens
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": units}}
    return {"id": id, "model": request.model, "results": results, "usage": {"total_tokens": tokens}, "meta": meta}


_SHAPES: Final[Mapping[DialectName, _Shape]] = {
    "openai-embeddings": _Shape("input", "embd", _embeddings),
    "cohere-embed": _Shape("texts", "embd", _embed),
    "openai-moderations": _Shape("input", "modr", _moderations),
    "rerank": _Shape("documents", "rank", _ranking),
}
UNSTREAMED: Final = tuple(_SHAPES)
"""The dialects that this speaks."""
