"""/api/orgs: organisations, made, suspended and resumed by the operator; everyone else sees their own."""

from datetime import datetime
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.requests import Limit, Line, Offset, Page
from gateway.identity.orgs import Org, OrgStatus


class NewOrg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Line


class OrgView(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    status: OrgStatus
    created_at: datetime


class OrgPage(msgspec.Struct, frozen=True):
    data: list[OrgView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("POST", "/api/orgs", needs=Right.WRITE_ORGS, status=201)
async def create(ask: Ask, body: NewOrg) -> OrgView:
    """A new organisation, with an empty account."""
    org = await ask.house.orgs.create(body.name, by=ask.origin, idempotency=ask.idempotency(body.name))
    ask.replayed(org.repeated)
    return _view(org)


@endpoint("GET", "/api/orgs", needs=Right.READ_ORGS)
async def page(ask: Ask, query: Page) -> OrgPage:
    """Organisations, oldest first: all of them for the operator, their own for everyone else."""
    own = ask.principal.org_id
    if own is not None:
        found, total = [await ask.house.orgs.get(own)][query.offset :], 1
    else:
        found, total = await ask.house.orgs.page(limit=query.limit, offset=query.offset)
    return OrgPage([_view(org) for org in found], total, query.limit, query.offset)


@endpoint("GET", "/api/orgs/{org_id}", needs=Right.READ_ORGS)
async def get(ask: Ask, org_id: UUID) -> OrgView:
    """One organisation."""
    return _view(await ask.house.orgs.get(ask.org(org_id)))


@endpoint("POST", "/api/orgs/{org_id}/suspend", needs=Right.WRITE_ORGS)
async def suspend(ask: Ask, org_id: UUID) -> OrgView:
    """Its calls are refused from the commit on; open ones go on with what they hold. Again changes nothing."""
    return _turned(ask, await ask.house.orgs.suspend(org_id, by=ask.origin, idempotency=ask.idempotency(org_id)))


@endpoint("POST", "/api/orgs/{org_id}/resume", needs=Right.WRITE_ORGS)
async def resume(ask: Ask, org_id: UUID) -> OrgView:
    """Its calls are served again. Again changes nothing."""
    return _turned(ask, await ask.house.orgs.resume(org_id, by=ask.origin, idempotency=ask.idempotency(org_id)))


def _turned(ask: Ask, org: Org) -> OrgView:
    ask.house.key_ring.forget_org(org.org_id)
    ask.replayed(org.repeated)
    return _view(org)


def _view(org: Org) -> OrgView:
    return OrgView(id=org.org_id, name=org.name, status=org.status, created_at=org.created_at)
