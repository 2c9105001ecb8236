"""What waits for a batch: holds (reservations and extensions), which somebody awaits, and endings."""

import asyncio
from datetime import datetime
from enum import IntEnum
from uuid import UUID

import msgspec

from gateway.ledger.calls import Ending, Wish

Row = tuple[object, ...]
"""An item as Postgres takes it, in the order of its composite type (see migrations 0004 and 0017)."""


class HoldAnswer(msgspec.Struct, frozen=True, gc=False):
    """One item's answer; `status` is one of those listed in functions/reserving.sql."""

    status: str
    held_ucr: int
    available_ucr: int
    balance_ucr: int
    account_id: UUID
    """Who pays, or whose figures these are."""
    budget_scope: str | None = None
    """Of the budget that refused."""
    resets_at: datetime | None = None
    """When that budget begins anew; None: never, or no budget refused."""


class Hold(msgspec.Struct, eq=False, kw_only=True):
    """A reservation, or an extension of one, on its way."""

    id: UUID
    org_id: UUID
    extends: bool
    row: Row
    answer: asyncio.Future[HoldAnswer]
    deadline: float
    """By the loop's clock; after it nobody waits any more."""
    sent: bool = False
    """It may have reached the database: from now on its outcome can be unknown."""

    def fail(self, error: Exception) -> None:
        """Unless it has its answer, or nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_exception(error)


def wish_row(wish: Wish, pin_id: int | None) -> Row:
    """In the order of `wish_item`."""
    return (
        wish.id,
        wish.account_ids,
        wish.amount_ucr,
        wish.learned_ucr,
        wish.prompt_ucr,
        wish.key_id,
        wish.user_id,
        wish.model,
        wish.feature,
        pin_id,
        None,
    )


class Stage(IntEnum):
    """How much of an ending is posted. Each failure on its data alone moves it one on, so that it always ends."""

    WHOLE = 0
    STRIPPED = 1
    """Money alone; the payload is in quarantine."""
    RECOVERED = 2
    """Not even that: ended like a call whose process died."""


class Unsettled:
    """An ending on its way into the ledger."""

    __slots__ = ("ending", "id", "stage")

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.id = ending.id
        self.stage = Stage.WHOLE

    @property
    def row(self) -> Row:
        """Made when its batch is sent: many at once cost each less than one alone."""
        return ending_row(self.ending) if self.stage is Stage.WHOLE else stripped_row(self.ending)


def ending_row(ending: Ending) -> Row:
    """In the order of `settlement_item`."""
    return (
        ending.id,
        ending.account_id,
        ending.end,
        ending.delivered,
        ending.cost_ucr,
        str(ending.numerator),
        ending.lines.decode(errors="replace"),
        ending.waive_above_held,
        ending.key_id,
        ending.user_id,
        ending.model,
        ending.feature,
        ending.upstream,
        ending.upstream_model,
        ending.provider_request_id,
        ending.streamed,
        ending.status,
        ending.finish_reason,
        ending.prompt_tokens,
        ending.cached_tokens,
        ending.cache_write_tokens,
        ending.output_tokens,
        ending.reasoning_tokens,
        ending.first_event_ms,
        ending.duration_ms,
        ending.other_accounts,
        ending.tags,
    )


def stripped_row(ending: Ending) -> Row:
    """The same money, and nothing that could be wrong with the rest."""
    cost_ucr = ending.cost_ucr
    return (
        ending.id,
        ending.account_id,
        ending.end,
        ending.delivered,
        cost_ucr,
        str(cost_ucr * 1_000_000),
        f'[["stripped", {cost_ucr}, 1000000]]',
        ending.waive_above_held,
        ending.key_id,
        ending.user_id,
        *("",) * 5,
        ending.streamed,
        0,
        "",
        *(0,) * 5,
        None,
        0,
        ending.other_accounts,
        None,
    )
