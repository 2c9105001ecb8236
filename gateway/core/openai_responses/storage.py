"""What the Responses API keeps at the provider between calls, by the ids that an answer gives it."""

from collections.abc import Iterable

import msgspec

from gateway.core.dialect import Kept
from gateway.core.openai_responses.answer import Response

_ENDED = ("completed", "incomplete", "failed", "cancelled")
_RESPONSE = msgspec.json.Decoder(Response)


def kept_by_answer(body: bytes) -> tuple[Kept, ...]:
    """Nothing where it is none."""
    try:
        return tuple(kept_by(_RESPONSE.decode(body)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def is_ended(body: bytes) -> bool:
    """False also for what is no response."""
    try:
        return _RESPONSE.decode(body).status in _ENDED
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        return False


def kept_by(response: Response) -> list[Kept]:
    """A response, its items, and the conversation that it belongs to."""
    if type(response.id) is not str:
        return []
    kept = [Kept("response", response.id), *items_kept(response.output if type(response.output) is list else ())]
    conversation = response.conversation
    if type(conversation) is dict and type(id := conversation.get("id")) is str:
        kept.append(Kept("conversation", id))
    return kept


def items_kept(items: Iterable[object]) -> list[Kept]:
    return [Kept("item", id) for item in items if type(item) is dict and type(id := item.get("id")) is str]
