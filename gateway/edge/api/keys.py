"""/api/orgs/{org_id}/keys: made, listed and revoked. The key itself is in one answer, once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.requests import Instant, Limit, Line, Offset, Page, invalid
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


class KeyPage(msgspec.Struct, frozen=True):
    data: list[KeyView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("POST", "/api/orgs/{org_id}/keys", needs=Right.WRITE_KEYS, status=201)
async def create(ask: Ask, org_id: UUID, body: NewKey) -> KeyView:
    """A new key. Its text is in this one answer and stored nowhere.

    Repeated under its Idempotency-Key, the answer is the same without `key`, and says so: `idempotent-replayed: true`.
    Where the first answer was lost, revoke the key and make another.
    """
    org_id = ask.org(org_id)
    if body.expires_at is not None and body.expires_at <= ask.house.clock.now():
        raise invalid("expires_at", "must be in the future")
    key, token = await ask.house.keys.create(
        org_id,
        name=body.name,
        models=None if body.models is None else tuple(body.models),
        expires_at=body.expires_at,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body),
    )
    ask.replayed(key.repeated)
    return _view(key, None if key.repeated else token)


@endpoint("GET", "/api/orgs/{org_id}/keys", needs=Right.READ_KEYS)
async def page(ask: Ask, org_id: UUID, query: Page) -> KeyPage:
    """Keys, oldest first, revoked ones included."""
    org = await ask.house.orgs.get(ask.org(org_id))
    found, total = await ask.house.keys.page(org.org_id, limit=query.limit, offset=query.offset)
    return KeyPage([_view(key) for key in found], total, query.limit, query.offset)


@endpoint("DELETE", "/api/orgs/{org_id}/keys/{key_id}", needs=Right.WRITE_KEYS)
async def revoke(ask: Ask, org_id: UUID, key_id: UUID) -> KeyView:
    """Revoked for good; again changes nothing. Streams that already run end as they would."""
    org_id = ask.org(org_id)
    key = await ask.house.keys.revoke(org_id, key_id, by=ask.origin, idempotency=ask.idempotency(org_id, key_id))
    ask.replayed(key.repeated)
    return _view(key)


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
