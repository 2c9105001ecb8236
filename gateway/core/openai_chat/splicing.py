"""Changing a chat request where it must change, and leaving every other byte as the client sent it."""

from typing import Final, Protocol

import msgspec

from gateway.core.dialect import Habits
from gateway.core.edits import Edit, edited
from gateway.core.json_object import Spans, spans_of
from gateway.core.openai_chat.request import ChatRequest

_NEWER_ONLY: Final = ("max_tokens", "max_completion_tokens")
"""The field to limit by, and the only one that the body sets."""


class Limited(Protocol):
    """A request whose output may be limited and whose usage may be asked for."""

    @property
    def body(self) -> bytes: ...
    @property
    def model(self) -> str: ...
    @property
    def include_usage(self) -> bool: ...
    @property
    def limit_fields(self) -> tuple[str, ...]: ...


def splice(
    request: Limited,
    *,
    model: str | None = None,
    include_usage: bool = False,
    output_limit: tuple[str, int] | None = None,
) -> bytes:
    """The body with another model, with the usage chunk asked for, with its output limited; else byte for byte.

    `output_limit` is a field and a number of tokens: every limit that the body sets is lowered to the number; where it
    sets none, the field is added. A limit is never raised. `max_tokens` is also added beside `max_completion_tokens`,
    which not every provider knows; never the newer beside the older, because those who know both refuse both.
    """
    new_model = model is not None and model != request.model
    new_usage = include_usage and not request.include_usage
    if not (new_model or new_usage or output_limit):
        return request.body
    spans = spans_of(request.body)
    edits: list[Edit] = []
    added: list[bytes] = []
    if new_model:
        edits.append((*spans["model"], msgspec.json.encode(model)))
    if new_usage:
        _ask_for_usage(request.body, spans, edits, added)
    if output_limit is not None:
        for name in request.limit_fields:
            edits += _lowered(request.body, spans[name], output_limit[1])
        if not request.limit_fields or (output_limit[0], *request.limit_fields) == _NEWER_ONLY:
            _limit_output(spans, output_limit, edits, added)
    if added:
        start = request.body.index(b"{") + 1
        edits.append((start, start, b"".join([field + b"," for field in added])))
    return edited(request.body, edits)


def splice_for(request: ChatRequest, model: str, habits: Habits, send_limit: int | None) -> tuple[bytes, bool]:
    """The body for a target. True: it asks for the usage chunk, and the caller has not."""
    ask_usage = request.stream and habits.include_usage and not request.include_usage
    field, tokens = habits.output_limit_field, send_limit
    if tokens is None and field == "max_tokens" and request.limit_fields == ("max_completion_tokens",):
        tokens = request.output_limit  # such a provider may not know the newer field, and would not be bound by it
    body = splice(
        request,
        model=None if model == request.model else model,
        include_usage=ask_usage,
        output_limit=None if tokens is None else (field, tokens),
    )
    return body, ask_usage


def _ask_for_usage(body: bytes, spans: Spans, edits: list[Edit], added: list[bytes]) -> None:
    if "stream_options" not in spans:
        added.append(b'"stream_options":{"include_usage":true}')
        return
    start, end = spans["stream_options"]
    options = body[start:end]
    places = spans_of(options) if options != b"null" else {}
    if "include_usage" in places:
        value_start, value_end = places["include_usage"]
        edits.append((start + value_start, start + value_end, b"true"))
    elif places:
        edits.append((start + 1, start + 1, b'"include_usage":true,'))
    else:
        edits.append((start, end, b'{"include_usage":true}'))


def _lowered(body: bytes, span: tuple[int, int], tokens: int) -> list[Edit]:
    return [(*span, b"%d" % tokens)] if int(body[slice(*span)]) > tokens else []


def _limit_output(spans: Spans, limit: tuple[str, int], edits: list[Edit], added: list[bytes]) -> None:
    field, tokens = limit
    if field in spans:
        edits.append((*spans[field], b"%d" % tokens))
    else:
        added.append(b'"%b":%d' % (field.encode(), tokens))
