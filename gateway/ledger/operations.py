"""What is done with credits beside calls: each operation one statement, once by its id and once by its idempotency key.

A repetition gets the first answer with `repeated` set. What is refused raises, and then nothing changed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import (
    Conflict,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    TollgateError,
)
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.units import UCR_MAX, credits_text
from gateway.ledger.accounts import Executor
from gateway.postgres.once import fetch_once
from gateway.postgres.queries import load

_SQL = load("operations")
TEXT_MAX: Final = 1_000

_Answer = TypeVar("_Answer", bound=msgspec.Struct)
Facts = dict[str, Any]
Refusals = Mapping[str, Callable[[Facts], TollgateError]]
"""A status that is a refusal → its error, from the facts that came with it."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One account, right after the operation."""

    balance_ucr: int
    held_ucr: int
    available_ucr: int
    receivable_ucr: int


class Taken(Standing, frozen=True, kw_only=True):
    """Credits that an operator took out."""

    id: UUID
    amount_ucr: int
    created_at: datetime
    repeated: bool = False


class Voided(Standing, frozen=True, kw_only=True):
    """A grant that was taken back. What open reservations protect leaves as they end."""

    id: UUID
    taken_ucr: int
    protected_ucr: int
    voided_at: datetime
    repeated: bool = False


class Refund(Standing, frozen=True, kw_only=True):
    id: UUID
    account_id: UUID
    amount_ucr: int
    refundable_ucr: int
    """What is left of the charge."""
    created_at: datetime
    repeated: bool = False


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    """Of the row that left; the one that arrived refers to it."""
    amount_ucr: int
    source: Standing
    target: Standing
    created_at: datetime
    repeated: bool = False


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    closed: tuple[UUID, ...]
    repeated: bool = False


class Changed(Standing, frozen=True, kw_only=True):
    """An account's status. `repeated`: it was so already."""

    repeated: bool = False


async def take_credits(
    connection: Executor,
    *,
    org_id: UUID,
    account_id: UUID,
    id: UUID,
    amount_ucr: int,
    reason: str,
    note: str,
    by: Origin,
    idempotency: Idempotency | None,
) -> Taken:
    """An adjustment downwards, of what is available.

    Raises InvalidRequest, NotFound, Conflict or InsufficientCredits.
    """
    check_amount(amount_ucr)
    check_texts(reason=reason, note=note)
    return await perform(
        connection,
        _SQL.take_credits,
        (org_id, account_id, id, amount_ucr, reason, note),
        by=by,
        idempotency=idempotency,
        answer=Taken,
        refusals={
            "insufficient": lambda facts: InsufficientCredits(
                "The account has less available; nothing was taken.",
                limit_source=_limit_source(org_id, account_id),
                available_ucr=facts["available_ucr"],
                required_ucr=amount_ucr,
            )
        },
    )


async def transfer(
    connection: Executor,
    *,
    org_id: UUID,
    source_id: UUID,
    target_id: UUID,
    id: UUID,
    amount_ucr: int,
    note: str,
    by: Origin,
    idempotency: Idempotency | None,
) -> Transfer:
    """Between two accounts of one organisation; priority, category and end of the credits stay.

    Raises InvalidRequest, NotFound, Conflict or InsufficientCredits.
    """
    check_amount(amount_ucr)
    check_texts(note=note)
    if source_id == target_id:
        raise InvalidRequest("Source and target are the same account; nothing was transferred.", param="target_id")
    return await perform(
        connection,
        _SQL.transfer,
        (org_id, source_id, target_id, id, amount_ucr, note),
        by=by,
        idempotency=idempotency,
        answer=Transfer,
        refusals={
            "restricted": lambda _: Conflict("A restricted account only receives; nothing was transferred."),
            "insufficient": lambda facts: InsufficientCredits(
                "The source has less available; nothing was transferred.",
                limit_source=_limit_source(org_id, source_id),
                available_ucr=facts["available_ucr"],
                required_ucr=amount_ucr,
            ),
        },
    )


async def refund(
    connection: Executor,
    *,
    org_id: UUID,
    charge_id: UUID,
    id: UUID,
    amount_ucr: int | None,
    reason: str,
    note: str,
    by: Origin,
    idempotency: Idempotency | None,
) -> Refund:
    """Give back of a charge, to the grants that it burned; None: all that is left of it.

    Raises InvalidRequest, NotFound (no such charge of this organisation) or Conflict.
    """
    if amount_ucr is not None:
        check_amount(amount_ucr)
    check_texts(reason=reason, note=note)
    return await perform(
        connection,
        _SQL.refund_charge,
        (org_id, charge_id, id, amount_ucr, reason, note),
        by=by,
        idempotency=idempotency,
        answer=Refund,
        refusals={
            "no_charge": lambda _: NotFound("The organisation has no such charge; nothing was refunded."),
            "archived": lambda _: Conflict(
                "The charge's month is archived; nothing was refunded. A grant gives credits without reference to it."
            ),
            "provisional": lambda _: Conflict(
                "The call's process died and its real cost may still come; nothing was refunded. Try again a day after."
            ),
            "too_much": lambda facts: InvalidRequest(
                f"The amount is more than is left of this charge, {credits_text(facts['refundable_ucr'])} credits; "
                "nothing was refunded.",
                param="amount",
            ),
        },
    )


async def void_grant(
    connection: Executor, *, org_id: UUID, grant_id: UUID, note: str, by: Origin, idempotency: Idempotency | None
) -> Voided:
    """Take back what is left of a grant. Once; again changes nothing. Raises InvalidRequest or NotFound."""
    check_texts(note=note)
    return await perform(
        connection,
        _SQL.void_grant,
        (org_id, grant_id, note),
        by=by,
        idempotency=idempotency,
        answer=Voided,
        refusals={"no_grant": lambda _: NotFound("The organisation has no such grant; nothing was voided.")},
    )


async def close_accounts(
    connection: Executor,
    *,
    org_id: UUID,
    account_id: UUID | None,
    forfeit: bool,
    by: Origin,
    idempotency: Idempotency | None,
) -> Closed:
    """One account, or None: all of the organisation's. For good.

    What a user's account has left goes to the pool. What else is left must be forfeited. Raises NotFound or Conflict.
    """
    return await perform(
        connection,
        _SQL.close_accounts,
        (org_id, account_id, forfeit),
        by=by,
        idempotency=idempotency,
        answer=Closed,
        refusals={
            "open": lambda _: Conflict("Reservations are open; nothing was closed."),
            "owes": lambda _: Conflict("Credits are owed; nothing was closed."),
            "not_empty": lambda _: Conflict("Credits are left that would be forfeited; nothing was closed."),
        },
    )


async def set_account_status(
    connection: Executor,
    *,
    org_id: UUID,
    account_id: UUID,
    status: str,
    by: Origin,
    idempotency: Idempotency | None = None,
) -> Changed:
    """`active` or `suspended`. Open calls go on and are settled. Raises NotFound or Conflict."""
    assert status in {"active", "suspended"}
    return await perform(
        connection,
        _SQL.set_account_status,
        (org_id, account_id, status),
        by=by,
        idempotency=idempotency,
        answer=Changed,
        refusals={},
    )


async def unpark_account(
    connection: Executor, *, org_id: UUID, account_id: UUID, by: Origin, idempotency: Idempotency | None = None
) -> Changed:
    """A person has looked at its books. Raises NotFound."""
    return await perform(
        connection,
        _SQL.unpark_account,
        (org_id, account_id),
        by=by,
        idempotency=idempotency,
        answer=Changed,
        refusals={},
    )


# --- what they share ------------------------------------------------------------------------------------------------


async def perform(
    connection: Executor,
    statement: str,
    arguments: tuple[UUID, *tuple[object, ...]],
    *,
    by: Origin | None,
    idempotency: Idempotency | None,
    answer: type[_Answer],
    refusals: Refusals,
) -> _Answer:
    """Run one operation's statement: its first argument is the organisation, and its last who does it (None: it is not
    audited). Raises what `refusals` say and what every operation may meet, InvalidRequest and IdempotencyMismatch.
    """
    facts = (*arguments, None if by is None else by.row())
    try:
        row = await fetch_once(connection, arguments[0], idempotency, statement, *facts)
    except asyncpg.CheckViolationError as error:
        if error.constraint_name == "ucr_within_bounds":
            raise InvalidRequest("The balance would pass the largest amount; nothing changed.") from None
        raise
    return read_answer(row, answer, refusals)


def read_answer(row: asyncpg.Record | None, answer: type[_Answer], refusals: Refusals) -> _Answer:
    """The typed answer, or the error that the status stands for."""
    assert row is not None
    status, text = row["status"], row["answer"]
    if status in {"ok", "exists"}:
        made = msgspec.json.decode(text, type=answer)
        return msgspec.structs.replace(made, repeated=True) if status == "exists" else made
    refused = refusals.get(status) or _REFUSALS[status]
    raise refused(msgspec.json.decode(text) if text else {})


_REFUSALS: Final[Refusals] = {
    "conflict": lambda _: Conflict("This id was used for something else before; nothing changed."),
    "no_account": lambda _: NotFound("There is no such account; nothing changed."),
    "closed": lambda _: Conflict("The account is closed; nothing changed."),
    "off_clock": lambda _: InvalidRequest(
        "The id is more than five minutes off the ledger's clock; nothing changed.", param="id"
    ),
    "parked": lambda _: Conflict("The account is parked until a person has looked at its books; nothing changed."),
}
"""What every operation may meet."""


def _limit_source(org_id: UUID, account_id: UUID) -> str:
    """The pool bears its organisation's id; what is taken from beside it is users' allocations."""
    return "org_pool" if account_id == org_id else "user_allocation"


def check_amount(ucr: int) -> None:
    if not 0 < ucr <= UCR_MAX:
        raise InvalidRequest("The amount must be above zero and within the largest amount.", param="amount")


def check_texts(**texts: str) -> None:
    for param, text in texts.items():
        if len(text) > TEXT_MAX or "\x00" in text:
            raise InvalidRequest(f"{param} must have at most {TEXT_MAX} characters and no NUL.", param=param)
