"""/api/orgs/{org_id}/keys: made, listed, changed, replaced and revoked. The key itself is in one answer, once."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.address import network_of
from gateway.core.caller import KeyKind
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import numbers, tag
from gateway.edge.requests import Instant, Limit, Line, Offset, Page, invalid
from gateway.identity.keys import OVERLAP_S, OVERLAP_S_MAX, ApiKey, KeyChange

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Models = Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=1000)]
NetworkText = Annotated[
    str,
    msgspec.Meta(
        min_length=2, max_length=49, description="An address, or a network such as 10.0.0.0/8.", examples=["10.0.0.0/8"]
    ),
]
Networks = Annotated[list[NetworkText], msgspec.Meta(min_length=1, max_length=100)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Line
    expires_at: Instant | None = None
    models: Models | None = None
    """The only models it may use; null allows all."""
    kind: KeyKind = KeyKind.INFERENCE
    """`management` administers the organisation on /api and cannot infer; `sandbox` reaches only replay."""
    ip_allow: Networks | None = None
    """The only networks it may be used from; null allows all."""
    user_id: UUID | None = None
    """Whose key it is."""


class ChangedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays."""

    name: Line | msgspec.UnsetType = msgspec.UNSET
    expires_at: Instant | msgspec.UnsetType | None = msgspec.UNSET
    models: Models | msgspec.UnsetType | None = msgspec.UNSET
    ip_allow: Networks | msgspec.UnsetType | None = msgspec.UNSET


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=OVERLAP_S_MAX)] = OVERLAP_S
    """How long the old key goes on beside the new one."""
    expires_at: Instant | None = None
    """Of the new key; null: when the old one was to."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    key: str | msgspec.UnsetType = msgspec.UNSET
    """The key itself, in the one answer that made it."""
    name: str
    kind: KeyKind
    prefix: str
    last_four: str | None
    """Null for keys that were made before it was kept."""
    models: tuple[str, ...] | None
    ip_allow: tuple[str, ...] | None
    user_id: UUID | None
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None
    """The key that rotation made of this one."""
    created_at: datetime


class KeyPage(msgspec.Struct, frozen=True):
    data: list[KeyView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("POST", "/api/orgs/{org_id}/keys", needs=Right.WRITE_KEYS, status=201, tagged=True)
async def create(ask: Ask, org_id: UUID, body: NewKey) -> KeyView:
    """A new key. Its text is in this one answer and stored nowhere.

    Repeated under its Idempotency-Key, the same key without its text. What it may cost is limited by a budget of scope
    `key`. A key makes only keys that may no more than itself, and its own such budgets are set for them, too.
    """
    org = ask.org(org_id)
    _check_in_future(ask, body.expires_at)
    made = await ask.house.keys.create_once(
        org,
        name=body.name,
        kind=body.kind,
        models=None if body.models is None else tuple(body.models),
        ip_allow=_networks(body.ip_allow),
        user_id=body.user_id,
        expires_at=body.expires_at,
        within=ask.principal.key_id,
        by=ask.origin,
        idempotency=ask.idempotency(org, body),
    )
    ask.replayed(made.token is None)
    return _view(ask, made.key, made.token)


@endpoint("GET", "/api/orgs/{org_id}/keys", needs=Right.READ_KEYS)
async def page(ask: Ask, org_id: UUID, query: Page) -> KeyPage:
    """Keys, oldest first, revoked ones included."""
    org = await ask.house.orgs.get(ask.org(org_id))
    found, total = await ask.house.keys.page(org.org_id, limit=query.limit, offset=query.offset)
    return KeyPage([_shown(key) for key in found], total, query.limit, query.offset)


@endpoint("GET", "/api/orgs/{org_id}/keys/{key_id}", needs=Right.READ_KEYS, tagged=True)
async def get(ask: Ask, org_id: UUID, key_id: UUID) -> KeyView:
    """One key, with the ETag that a change can be bound to."""
    return _view(ask, await ask.house.keys.get(ask.org(org_id), key_id))


@endpoint("PATCH", "/api/orgs/{org_id}/keys/{key_id}", needs=Right.WRITE_KEYS, tagged=True, versioned=True)
async def change(ask: Ask, org_id: UUID, key_id: UUID, body: ChangedKey) -> KeyView:
    """Another name, expiry, list of models or of networks; null takes a limit away, what is left out stays.

    With If-Match only where nobody changed the key in between: else 412. A revoked key is not changed. A key changes
    only keys that may no more than itself afterwards.
    """
    org = ask.org(org_id)
    if body.expires_at is not msgspec.UNSET:
        _check_in_future(ask, body.expires_at)
    key, repeated = await ask.house.keys.change(
        org,
        key_id,
        KeyChange(
            name=body.name,
            models=tuple(body.models) if isinstance(body.models, list) else body.models,
            ip_allow=body.ip_allow if isinstance(body.ip_allow, msgspec.UnsetType) else _networks(body.ip_allow),
            expires_at=body.expires_at,
        ),
        versions=numbers(ask),
        within=ask.principal.key_id,
        by=ask.origin,
        idempotency=ask.idempotency(org, key_id, body),
    )
    ask.replayed(repeated)
    return _view(ask, key)


@endpoint("POST", "/api/orgs/{org_id}/keys/{key_id}/rotate", needs=Right.WRITE_KEYS, status=201, tagged=True)
async def rotate(ask: Ask, org_id: UUID, key_id: UUID, body: Rotation) -> KeyView:
    """A new key with all that the old one may, which goes on for `overlap_seconds` and then expires.

    The new key's text is in this one answer. Budgets of the old key are set for the new one, too, and begin anew there.
    A key rotates only keys that may no more than itself.
    """
    org = ask.org(org_id)
    _check_in_future(ask, body.expires_at)
    made = await ask.house.keys.rotate(
        org,
        key_id,
        overlap=timedelta(seconds=body.overlap_seconds),
        expires_at=body.expires_at,
        within=ask.principal.key_id,
        by=ask.origin,
        idempotency=ask.idempotency(org, key_id, body),
    )
    ask.replayed(made.token is None)
    return _view(ask, made.key, made.token)


@endpoint("DELETE", "/api/orgs/{org_id}/keys/{key_id}", needs=Right.WRITE_KEYS, tagged=True)
async def revoke(ask: Ask, org_id: UUID, key_id: UUID) -> KeyView:
    """Revoked for good; again changes nothing. Streams that already run end as they would."""
    org = ask.org(org_id)
    key, repeated = await ask.house.keys.revoke_once(
        org, key_id, by=ask.origin, idempotency=ask.idempotency(org, key_id)
    )
    ask.replayed(repeated)
    return _view(ask, key)


def _check_in_future(ask: Ask, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= ask.house.clock.now():
        raise invalid("expires_at", "must be in the future")


def _networks(texts: list[str] | None) -> tuple[str, ...] | None:
    """As the database writes them. Raises InvalidRequest."""
    if texts is None:
        return None
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(str(network_of(text)))
        except ValueError as error:
            raise invalid(f"ip_allow[{index}]", f"is no address or network: {error}") from None
    return tuple(networks)


def _view(ask: Ask, key: ApiKey, token: str | None = None) -> KeyView:
    """With its ETag in the answer."""
    tag(ask, key.version)
    return _shown(key, token)


def _shown(key: ApiKey, token: str | None = None) -> KeyView:
    return KeyView(
        id=key.key_id,
        key=msgspec.UNSET if token is None else token,
        name=key.name,
        kind=key.kind,
        prefix=key.prefix,
        last_four=key.last_four,
        models=key.models,
        ip_allow=key.ip_allow,
        user_id=key.user_id,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        replaced_by=key.replaced_by,
        created_at=key.created_at,
    )
