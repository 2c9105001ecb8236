"""/api/credits/reservations: credits held for work that somebody else does, until it says what it cost.

Whose they are is asked with every change: a member's are their own, all others are the organisation's.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.checking import wish
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.cursors import Cursor, ListById, id_cursor, read_id
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.priced import Expected, LongLife, Spent, expected_ucr, used
from gateway.edge.api.spending import ChargeView, settled
from gateway.edge.api.subject import JobId, UserId, owner_or_job, subject_of
from gateway.edge.requests import Amount, AmountOrNone, Limit, amount_ucr, left_out
from gateway.ledger.owned import OwnedReservation, Owner, OwnerKind
from gateway.ledger.used import NOTHING


class NewReservation(Expected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: UserId = None
    job_id: JobId = None
    expires_in_s: LongLife | None = None
    """600 unless said, and at most a day; with a `job_id` as long as the job, unless less is said."""


class MoreReserved(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job_id: JobId = None
    amount: Amount
    """At least so much is held afterwards; never less than before."""
    expires_in_s: LongLife | None = None
    """From now, and never beyond the longest life from its beginning, or beyond its job."""
    spent: AmountOrNone = msgspec.field(default_factory=left_out)
    """What it has cost so far: charged at least, should it expire."""


class Cost(Spent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either an amount, or tokens of a model at the prices of now."""

    job_id: JobId = None


class OfOwner(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job_id: JobId = None


class ReservationQuery(OfOwner, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: Cursor | None = None
    """The `next_cursor` of the page before."""


class ReservationView(msgspec.Struct, frozen=True, kw_only=True):
    """One that is open."""

    id: UUID
    organization_id: UUID
    account_id: UUID
    owner: OwnerKind
    """`api`: whoever asked for it; `job`: one of their jobs, and it ends with that."""
    job_id: UUID | None
    user_id: UUID | None
    model: str
    held_ucr: int
    held: str
    spent_ucr: int
    spent: str
    created_at: datetime
    expires_at: datetime


class ReservationPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[ReservationView]
    limit: Limit
    next_cursor: str | None
    """null: that was all."""


class ExtensionView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    held_ucr: int
    held: str
    available_ucr: int
    """Left for others."""
    available: str
    expires_at: datetime


@endpoint("POST", "/api/credits/reservations", needs=Right.SPEND_CREDITS, status=201)
async def create(ask: Ask, body: NewReservation) -> ReservationView:
    """Holds an amount, or the most that so many tokens of a model can cost. One that nobody ends expires by itself, and
    is then charged what was last told as spent.
    """
    subject = subject_of(ask, body.organization_id, body.user_id)
    required_ucr = await expected_ucr(ask, subject.org_id, body)
    wanted = await wish(ask, subject, required_ucr, model=body.model or "")
    tokens = body.expected_input_tokens, body.expected_output_tokens
    amount = required_ucr if body.model is None else None
    key = ask.idempotency(subject.org_id, subject.user_id, body.model, tokens, amount, body.expires_in_s, body.job_id)
    owner, _ = await owner_or_job(ask, subject.org_id, body.job_id)
    [hold] = await ask.house.ledger.owned.reserve(
        owner, [wanted], by=ask.origin, life_s=body.expires_in_s, idempotency=key
    )
    if not hold.held:
        raise hold.refusal(required_ucr=required_ucr)
    ask.replayed(hold.repeated)
    assert hold.account_id is not None
    assert hold.created_at is not None
    assert hold.expires_at is not None
    return ReservationView(
        id=hold.id,
        organization_id=subject.org_id,
        account_id=hold.account_id,
        owner=owner.kind,
        job_id=body.job_id,
        user_id=subject.user_id,
        model=body.model or "",
        held_ucr=hold.held_ucr,
        held=credits_text(hold.held_ucr),
        spent_ucr=0,
        spent=credits_text(0),
        created_at=hold.created_at,
        expires_at=hold.expires_at,
    )


@endpoint("GET", "/api/credits/reservations", needs=Right.SPEND_CREDITS)
async def page(ask: Ask, query: ReservationQuery) -> ReservationPage:
    """Open ones, oldest first; those of a job with its `job_id` alone."""
    org_id = ask.org(query.organization_id)
    owner, _ = await owner_or_job(ask, org_id, query.job_id)
    after = None if query.cursor is None else read_id(ListById.RESERVATIONS, query.cursor)
    found = await ask.house.ledger.owned.page(owner, after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    return ReservationPage(
        data=[_view(owner, each) for each in shown],
        limit=query.limit,
        next_cursor=id_cursor(ListById.RESERVATIONS, shown[-1].id) if len(found) > query.limit else None,
    )


@endpoint("GET", "/api/credits/reservations/{reservation_id}", needs=Right.SPEND_CREDITS)
async def get(ask: Ask, reservation_id: UUID, query: OfOwner) -> ReservationView:
    """One that is open. What became of one that has ended is in the transactions, under the same id."""
    owner, _ = await owner_or_job(ask, ask.org(query.organization_id), query.job_id)
    return _view(owner, await ask.house.ledger.owned.get(owner, reservation_id))


@endpoint("POST", "/api/credits/reservations/{reservation_id}/extend", needs=Right.SPEND_CREDITS)
async def extend(ask: Ask, reservation_id: UUID, body: MoreReserved) -> ExtensionView:
    """Holds at least so much, and for so long from now; again changes nothing. Refused, it holds what it did."""
    org_id = ask.org(body.organization_id)
    at_least_ucr = amount_ucr(body.amount, field="amount")
    spent_ucr = amount_ucr(body.spent, field="spent", least_ucr=0) if bytes(body.spent) else 0
    owner, job = await owner_or_job(ask, org_id, body.job_id)
    life_s = body.expires_in_s
    if job is not None:
        left_s = (job.expires_at - ask.house.clock.now()).total_seconds()
        life_s = max(0.001, left_s if life_s is None else min(left_s, life_s))
    made = await ask.house.ledger.owned.extend(
        owner,
        reservation_id,
        at_least_ucr=at_least_ucr,
        by=ask.origin,
        life_s=life_s,
        spent_ucr=spent_ucr,
        idempotency=ask.idempotency(org_id, reservation_id, at_least_ucr, body.expires_in_s, spent_ucr, body.job_id),
    )
    if made.status != "ok":
        raise made.refusal(required_ucr=at_least_ucr)
    ask.replayed(made.repeated)
    return ExtensionView(
        id=made.id,
        organization_id=org_id,
        held_ucr=made.held_ucr,
        held=credits_text(made.held_ucr),
        available_ucr=made.available_ucr,
        available=credits_text(made.available_ucr),
        expires_at=made.expires_at,
    )


@endpoint("POST", "/api/credits/reservations/{reservation_id}/settle", needs=Right.SPEND_CREDITS)
async def settle(ask: Ask, reservation_id: UUID, body: Cost) -> ChargeView:
    """Ends it with what it cost: an amount, or a model's tokens at its prices of now. Once; again is the same answer.

    Cost above what is held is charged too, and owed where the account has no more. The real cost of one that expired is
    taken for a day after.
    """
    org_id = ask.org(body.organization_id)
    asked = await used(ask, org_id, body)
    tokens = body.input_tokens, body.cached_tokens, body.cache_write_tokens, body.output_tokens
    amount = asked.cost_ucr if body.model is None else None
    key = ask.idempotency(org_id, reservation_id, body.model, tokens, amount, body.tags, body.job_id)
    owner, _ = await owner_or_job(ask, org_id, body.job_id)
    return await settled(ask, owner, reservation_id, asked, idempotency=key)


@endpoint("POST", "/api/credits/reservations/{reservation_id}/release", needs=Right.SPEND_CREDITS)
async def release(ask: Ask, reservation_id: UUID, query: OfOwner) -> ChargeView:
    """Ends it without a cost. Once; again changes nothing."""
    org_id = ask.org(query.organization_id)
    key = ask.idempotency(org_id, reservation_id, query.job_id)
    owner, _ = await owner_or_job(ask, org_id, query.job_id)
    return await settled(ask, owner, reservation_id, NOTHING, idempotency=key)


def _view(owner: Owner, found: OwnedReservation) -> ReservationView:
    return ReservationView(
        id=found.id,
        organization_id=owner.org_id,
        account_id=found.account_id,
        owner=owner.kind,
        job_id=owner.id if owner.kind is OwnerKind.JOB else None,
        user_id=found.user_id,
        model=found.model,
        held_ucr=found.held_ucr,
        held=credits_text(found.held_ucr),
        spent_ucr=found.spent_ucr,
        spent=credits_text(found.spent_ucr),
        created_at=found.created_at,
        expires_at=found.expires_at,
    )
