"""/api/orgs: organisations, made, listed, suspended and resumed by the operator."""

from datetime import datetime
from uuid import UUID

import msgspec
from aiohttp import web

from gateway.edge.answers import json_answer
from gateway.edge.auth import operators_only
from gateway.edge.requests import Line, Page, operator_of, path_id, read_body, read_query
from gateway.edge.rooms import KEY_RING, ORGS
from gateway.identity.orgs import Org, OrgStatus


class NewOrg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Line


class OrgView(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    status: OrgStatus
    created_at: datetime


@operators_only
async def create(request: web.Request) -> web.StreamResponse:
    wish = await read_body(request, NewOrg)
    org = await request.app[ORGS].create(wish.name, by=operator_of(request))
    return json_answer(_view(org), status=201)


@operators_only
async def page(request: web.Request) -> web.StreamResponse:
    page = read_query(request, Page)
    orgs, total = await request.app[ORGS].page(limit=page.limit, offset=page.offset)
    return json_answer(
        {"data": [_view(org) for org in orgs], "total": total, "limit": page.limit, "offset": page.offset}
    )


@operators_only
async def get(request: web.Request) -> web.StreamResponse:
    return json_answer(_view(await request.app[ORGS].get(org_id(request))))


@operators_only
async def suspend(request: web.Request) -> web.StreamResponse:
    return _turned(request, await request.app[ORGS].suspend(org_id(request), by=operator_of(request)))


@operators_only
async def resume(request: web.Request) -> web.StreamResponse:
    return _turned(request, await request.app[ORGS].resume(org_id(request), by=operator_of(request)))


def org_id(request: web.Request) -> UUID:
    return path_id(request, "org_id", what="organisation")


def _turned(request: web.Request, org: Org) -> web.Response:
    request.app[KEY_RING].forget_org(org.org_id)
    return json_answer(_view(org))


def _view(org: Org) -> OrgView:
    return OrgView(id=org.org_id, name=org.name, status=org.status, created_at=org.created_at)
