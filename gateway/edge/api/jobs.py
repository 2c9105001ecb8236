"""/api/credits/jobs: work that outlives the request that ordered it, and owns reservations until it ends."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.cursors import Cursor, ListById, id_cursor, read_id
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.subject import owner_of
from gateway.edge.requests import Limit
from gateway.ledger.jobs import KIND_CHARS_MAX, LIFE_S_MIN, Job

JobLife = Annotated[float, msgspec.Meta(ge=LIFE_S_MIN, le=691_200)]
"""Seconds. The ledger's settings may allow less."""
Kind = Annotated[str, msgspec.Meta(min_length=1, max_length=KIND_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewJob(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Kind
    """The caller's own word for what is done."""
    expires_in_s: JobLife = 86_400
    """How long it lives, unless it is ended before."""


class JobQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: Cursor | None = None
    """The `next_cursor` of the page before."""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    kind: str
    created_at: datetime
    expires_at: datetime
    """Then it ends by itself."""
    ended_at: datetime | None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[JobView]
    limit: Limit
    next_cursor: str | None
    """null: that was all."""


@endpoint("POST", "/api/credits/jobs", needs=Right.SPEND_CREDITS, status=201)
async def open_(ask: Ask, body: NewJob) -> JobView:
    """A job, whose id reservations can name as their owner: they live as long as it does, and end with it.

    It is whoever's reservations would be: a member's own, or the organisation's. At most 1,000 of one are open.
    """
    org = await ask.house.orgs.get(ask.org(body.organization_id))
    job = await ask.house.ledger.jobs.open(
        org.org_id,
        ask.house.ids.next(),
        kind=body.kind,
        life_s=body.expires_in_s,
        opened_for=owner_of(ask, org.org_id).id,
        by=ask.origin,
        idempotency=ask.idempotency(org.org_id, body.kind, body.expires_in_s),
    )
    ask.replayed(job.repeated)
    return _view(org.org_id, job)


@endpoint("GET", "/api/credits/jobs", needs=Right.SPEND_CREDITS)
async def page(ask: Ask, query: JobQuery) -> JobPage:
    """Open ones, oldest first."""
    org_id = ask.org(query.organization_id)
    after = None if query.cursor is None else read_id(ListById.JOBS, query.cursor)
    opened_for = owner_of(ask, org_id).id
    found = await ask.house.ledger.jobs.page(org_id, opened_for=opened_for, after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    return JobPage(
        data=[_view(org_id, job) for job in shown],
        limit=query.limit,
        next_cursor=id_cursor(ListById.JOBS, shown[-1].id) if len(found) > query.limit else None,
    )


@endpoint("GET", "/api/credits/jobs/{job_id}", needs=Right.SPEND_CREDITS)
async def get(ask: Ask, job_id: UUID, query: OfOrg) -> JobView:
    """One job, also one that has ended."""
    org_id = ask.org(query.organization_id)
    return _view(org_id, await ask.house.ledger.jobs.get(org_id, job_id, opened_for=owner_of(ask, org_id).id))


@endpoint("POST", "/api/credits/jobs/{job_id}/end", needs=Right.SPEND_CREDITS)
async def end(ask: Ask, job_id: UUID, query: OfOrg) -> JobView:
    """It reserves nothing more, and what it still holds expires: charged what was last told as spent.

    Again changes nothing. The real cost of what expired so is taken for a day after, by settling it.
    """
    org_id = ask.org(query.organization_id)
    job, _ = await ask.house.ledger.jobs.end(
        org_id,
        job_id,
        opened_for=owner_of(ask, org_id).id,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, job_id),
    )
    ask.replayed(job.repeated)
    return _view(org_id, job)


def _view(org_id: UUID, job: Job) -> JobView:
    return JobView(
        id=job.id,
        organization_id=org_id,
        kind=job.kind,
        created_at=job.created_at,
        expires_at=job.expires_at,
        ended_at=job.ended_at,
    )
