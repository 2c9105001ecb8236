"""/api/orgs/{org_id}/keys: made, listed and revoked by the operator. The key itself is in one answer, once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web

from gateway.edge.answers import json_answer
from gateway.edge.api.orgs import org_id
from gateway.edge.auth import operators_only
from gateway.edge.requests import Instant, Line, Page, invalid, operator_of, path_id, read_body, read_query
from gateway.edge.rooms import CLOCK, KEYS, ORGS
from gateway.identity.keys import ApiKey

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Line
    expires_at: Instant | None = None
    models: Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=1000)] | None = None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    key: str | msgspec.UnsetType = msgspec.UNSET
    name: str
    prefix: str
    models: tuple[str, ...] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


@operators_only
async def create(request: web.Request) -> web.StreamResponse:
    wish = await read_body(request, NewKey)
    if wish.expires_at is not None and wish.expires_at <= request.app[CLOCK].now():
        raise invalid("expires_at", "must be in the future")
    key, token = await request.app[KEYS].create(
        org_id(request),
        name=wish.name,
        models=None if wish.models is None else tuple(wish.models),
        expires_at=wish.expires_at,
        by=operator_of(request),
    )
    return json_answer(_view(key, token), status=201)


@operators_only
async def page(request: web.Request) -> web.StreamResponse:
    page = read_query(request, Page)
    org = await request.app[ORGS].get(org_id(request))
    keys, total = await request.app[KEYS].page(org.org_id, limit=page.limit, offset=page.offset)
    return json_answer(
        {"data": [_view(key) for key in keys], "total": total, "limit": page.limit, "offset": page.offset}
    )


@operators_only
async def revoke(request: web.Request) -> web.StreamResponse:
    key = await request.app[KEYS].revoke(
        org_id(request), path_id(request, "key_id", what="key"), by=operator_of(request)
    )
    return json_answer(_view(key))


def _view(key: ApiKey, token: str | None = None) -> KeyView:
    return KeyView(
        id=key.key_id,
        key=msgspec.UNSET if token is None else token,
        name=key.name,
        prefix=key.prefix,
        models=key.models,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        created_at=key.created_at,
    )
