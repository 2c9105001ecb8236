"""Changing a Responses request where it must change, and leaving every other byte as the client sent it."""

import msgspec

from gateway.core.dialect import Habits
from gateway.core.edits import Edit, edited
from gateway.core.json_object import spans_of
from gateway.core.openai_responses.request import ResponsesRequest


def splice_for(request: ResponsesRequest, model: str, _: Habits, send_limit: int | None) -> tuple[bytes, bool]:
    """The body with another model, and with max_output_tokens set or lowered; else byte for byte. Usage always comes
    unasked. A limit is never raised."""
    new_model = model != request.model
    limit = request.output_limit
    bound = b"%d" % send_limit if send_limit is not None and (limit is None or send_limit < limit) else b""
    if not (new_model or bound):
        return request.body, False
    body = request.body
    spans = spans_of(body)
    edits: list[Edit] = []
    if new_model:
        edits.append((*spans["model"], msgspec.json.encode(model)))
    if bound and "max_output_tokens" in spans:
        edits.append((*spans["max_output_tokens"], bound))
    elif bound:
        start = body.index(b"{") + 1
        edits.append((start, start, b'"max_output_tokens":%b,' % bound))
    return edited(body, edits), False
