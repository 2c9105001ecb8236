"""/api/credits/batch: many changes in one request, each as if it had come alone, with an answer of its own."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

import msgspec
import structlog

from gateway.core.access import Right
from gateway.core.errors import LedgerUnavailable, TollgateError
from gateway.core.rendered import Rendered
from gateway.edge.api import checking, moves, reservations, spending
from gateway.edge.api import credits as credits_
from gateway.edge.api.ask import REPLAYED, Ask
from gateway.edge.api.endpoint import Endpoint, endpoint
from gateway.edge.errors import INTERNAL, problem_body, rendered, said_of
from gateway.edge.requests import body_as, invalid

log = structlog.get_logger()

ITEMS_MAX: Final = 1_000
BODY_BYTES_MAX: Final = 1024 * 1024
WORK_S_MAX: Final = 30.0
"""After so long no item is begun any more."""


class Operation(StrEnum):
    ADD = "add"
    DEDUCT = "deduct"
    USAGE = "usage"
    VALIDATE = "validate"
    CHECK = "check"
    REFUND = "refund"
    TRANSFER = "transfer"
    VOID = "void"
    RESERVE = "reserve"
    EXTEND = "extend"
    SETTLE = "settle"
    RELEASE = "release"


class Extending(reservations.MoreReserved, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reservation_id: UUID


class Settling(reservations.Cost, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reservation_id: UUID


class Releasing(reservations.OfOwner, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reservation_id: UUID


ENDPOINTS: Final[Mapping[Operation, Endpoint]] = {
    Operation.ADD: credits_.add,
    Operation.DEDUCT: spending.deduct,
    Operation.USAGE: spending.usage,
    Operation.VALIDATE: checking.validate,
    Operation.CHECK: checking.check,
    Operation.REFUND: moves.refund,
    Operation.TRANSFER: moves.transfer,
    Operation.VOID: moves.void,
    Operation.RESERVE: reservations.create,
    Operation.EXTEND: reservations.extend,
    Operation.SETTLE: reservations.settle,
    Operation.RELEASE: reservations.release,
}
"""What does each of them."""
assert ENDPOINTS.keys() == set(Operation)

BODIES: Final[Mapping[Operation, Any]] = {operation: each.body for operation, each in ENDPOINTS.items()} | {
    Operation.EXTEND: Extending,
    Operation.SETTLE: Settling,
    Operation.RELEASE: Releasing,
}
"""An endpoint's body, with what stands in its path, where something does."""
_BODIES_TEXT: Final = ", ".join(
    f"{operation}: {each.body.__name__}" for operation, each in ENDPOINTS.items() if each.body is BODIES[operation]
)


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    operation: Operation
    body: Annotated[
        msgspec.Raw,
        msgspec.Meta(
            description=f"As the endpoint of the operation takes it. {_BODIES_TEXT}. To extend, settle and release: "
            "with the `reservation_id` beside what the endpoint takes.",
            extra_json_schema={"type": "object"},
        ),
    ]
    idempotency_key: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,255}$")] | None = None
    """Left out: the batch's own key with the item's position, from 0, as in `invoice-17/0`. An `operation_id` in the
    body counts besides."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    written_as: ClassVar = (Item,)
    items: Annotated[
        list[Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Item"})]],
        msgspec.Meta(min_length=1, max_length=ITEMS_MAX),
    ]
    """Each is read by itself: what is wrong with one is its own answer."""


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the item's endpoint would have answered."""

    status: int
    body: Any
    """The endpoint's answer, or a problem."""
    replayed: bool
    """It was done before, under its key; this is the first answer."""


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    data: list[ItemAnswer]
    """One for each item, in their order."""
    failed: int
    """How many have a problem for an answer."""


@endpoint("POST", "/api/credits/batch", needs=Right.READ_CREDITS, body_bytes_max=BODY_BYTES_MAX)
async def batch(ask: Ask, body: Batch) -> BatchAnswer:
    """Up to 1,000 changes, one after another in the order given, each with the rights that it needs, whole or not at
    all, and with an answer of its own. One that fails stops no other.

    Each may bear an idempotency key; with an Idempotency-Key of the batch all others get one too, so that a batch whose
    answer was lost can be sent again. Items that were not begun within 30 seconds are answered with 503. Two batches of
    an asker are under way at a time, unless configured otherwise.
    """
    with ask.house.pace.of_batch(ask.principal):
        answers = await _all_done(ask, body.items)
    return BatchAnswer(data=answers, failed=sum(answer.status >= 400 for answer in answers))


async def _all_done(ask: Ask, items: list[msgspec.Raw]) -> list[ItemAnswer]:
    clock = ask.house.clock
    ends_s = clock.monotonic() + WORK_S_MAX
    answers = []
    for position, item in enumerate(items):
        if clock.monotonic() < ends_s:
            answers.append(await _done(ask, item, position))
        else:
            answers.append(_problem(rendered(LedgerUnavailable("The batch's time is over; this item was not begun."))))
    return answers


async def _done(ask: Ask, written: msgspec.Raw, position: int) -> ItemAnswer:
    try:
        item = _item(bytes(written), position)
        asked = ENDPOINTS[item.operation]
        ask.principal.require(asked.needs)
        body = body_as(bytes(item.body), BODIES[item.operation])
        key = item.idempotency_key
        if key is None and ask.idempotency_key is not None:
            key = f"{ask.idempotency_key}/{position}"
        own = msgspec.structs.replace(ask, method=asked.method, path=asked.path, idempotency_key=key, headers={})
        given = {name: getattr(body, name) for name in asked.path_types}
        given["query" if asked.body is None else "body"] = body
        answer = await asked.handler(own, **given)
    except TollgateError as error:
        told = rendered(error, insufficient_status=ask.house.insufficient_status)
        return _problem(said_of(told, changes=True))
    except Exception:  # Where a request ends: the others have theirs still to come.
        log.exception("batch.item_failed", request_id=str(ask.request_id), position=position)
        return _problem(INTERNAL)
    return ItemAnswer(status=asked.status, body=answer, replayed=REPLAYED in own.headers)


def _item(written: bytes, position: int) -> Item:
    """Raises InvalidRequest."""
    if not written.startswith(b"{"):
        raise invalid(f"items[{position}]", "must be an object")
    item = body_as(written, Item)
    if not bytes(item.body).startswith(b"{"):
        raise invalid("body", "must be an object")
    return item


def _problem(error: Rendered) -> ItemAnswer:
    return ItemAnswer(status=error.status, body=msgspec.Raw(problem_body(error)), replayed=False)
