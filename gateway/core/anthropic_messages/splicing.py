"""Changing a Messages request where it must change, and leaving every other byte as the client sent it."""

from typing import Final

import msgspec

from gateway.core.anthropic_messages.request import MessagesRequest
from gateway.core.dialect import Habits
from gateway.core.edits import Edit, edited
from gateway.core.json_object import spans_of

BUDGET_TOKENS_MIN: Final = 1_024
"""The provider takes no smaller budget for thinking."""


def splice_for(request: MessagesRequest, model: str, _: Habits, send_limit: int | None) -> tuple[bytes, bool]:
    """The body with another model, and with max_tokens lowered; else byte for byte. Usage always comes unasked.

    A limit is never raised. A budget for thinking must stay below it, so it is lowered too, as far as one may be.
    """
    new_model = model != request.model
    limit = request.output_limit
    lower = send_limit is not None and limit is not None and send_limit < limit
    if not (new_model or lower):
        return request.body, False
    body = request.body
    spans = spans_of(body)
    edits: list[Edit] = []
    if new_model:
        edits.append((*spans["model"], msgspec.json.encode(model)))
    if lower:
        assert send_limit is not None
        edits.append((*spans["max_tokens"], b"%d" % send_limit))
        budget = max(send_limit - 1, BUDGET_TOKENS_MIN)
        if request.thinking_budget is not None and request.thinking_budget > budget:
            start, end = spans["thinking"]
            at, until = spans_of(body[start:end])["budget_tokens"]
            edits.append((start + at, start + until, b"%d" % budget))
    return edited(body, edits), False
