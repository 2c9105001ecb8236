"""/api/orgs/{org_id}/users: an organisation's people. Each has an account, filled by the rule for the role."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.roles import Role
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import etag, if_match
from gateway.edge.requests import Limit, Line, Offset, Page
from gateway.identity.users import User, UserStatus

Email = Annotated[
    str, msgspec.Meta(min_length=3, max_length=254, pattern=r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$")
]


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    external_id: Line
    """What the organisation itself calls them; one user bears it."""
    name: Line
    email: Email | None = None
    role: Role = "member"


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Role
    """Credits stay as they are: rules are for new users."""


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    """Also their account's."""
    organization_id: UUID
    external_id: str
    name: str
    email: str | None
    role: Role
    status: UserStatus
    created_at: datetime


class UserPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[UserView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("POST", "/api/orgs/{org_id}/users", needs=Right.WRITE_USERS, status=201, tagged=True)
async def create(ask: Ask, org_id: UUID, body: NewUser) -> UserView:
    """A user, their account and what the rule for the role gives, or nothing of it. Again with the same facts changes
    nothing; 402 where the rule takes from the pool what it does not have.
    """
    org_id = ask.org(org_id)
    user = await ask.house.users.create(
        org_id,
        external_id=body.external_id,
        name=body.name,
        email=body.email,
        role=body.role,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body),
    )
    return _answered(ask, user)


@endpoint("GET", "/api/orgs/{org_id}/users", needs=Right.READ_USERS)
async def page(ask: Ask, org_id: UUID, query: Page) -> UserPage:
    """Users, oldest first."""
    org = await ask.house.orgs.get(ask.org(org_id))
    found, total = await ask.house.users.page(org.org_id, limit=query.limit, offset=query.offset)
    return UserPage(data=[_view(user) for user in found], total=total, limit=query.limit, offset=query.offset)


@endpoint("GET", "/api/orgs/{org_id}/users/{user_id}", needs=Right.READ_USERS, tagged=True)
async def get(ask: Ask, org_id: UUID, user_id: UUID) -> UserView:
    """One user. `ETag` is for the next change."""
    return _answered(ask, await ask.house.users.get(ask.org(org_id), user_id))


@endpoint("PATCH", "/api/orgs/{org_id}/users/{user_id}", needs=Right.WRITE_USERS, tagged=True, versioned=True)
async def patch(ask: Ask, org_id: UUID, user_id: UUID, body: UserChange) -> UserView:
    """Another role."""
    org_id = ask.org(org_id)
    user = await ask.house.users.set_role(
        org_id,
        user_id,
        body.role,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, user_id, body),
        guard=if_match(ask, what="user"),
    )
    return _answered(ask, user)


@endpoint("POST", "/api/orgs/{org_id}/users/{user_id}/suspend", needs=Right.WRITE_USERS, tagged=True)
async def suspend(ask: Ask, org_id: UUID, user_id: UUID) -> UserView:
    """The user's keys are refused; calls already open end as they would. Again changes nothing."""
    org_id = ask.org(org_id)
    key = ask.idempotency(org_id, user_id)
    return _answered(ask, await ask.house.users.suspend(org_id, user_id, by=ask.origin, idempotency=key))


@endpoint("POST", "/api/orgs/{org_id}/users/{user_id}/resume", needs=Right.WRITE_USERS, tagged=True)
async def resume(ask: Ask, org_id: UUID, user_id: UUID) -> UserView:
    """The user's keys are accepted again. Again changes nothing."""
    org_id = ask.org(org_id)
    key = ask.idempotency(org_id, user_id)
    return _answered(ask, await ask.house.users.resume(org_id, user_id, by=ask.origin, idempotency=key))


def _answered(ask: Ask, user: User) -> UserView:
    ask.replayed(user.repeated)
    ask.headers["etag"] = etag(user)
    return _view(user)


def _view(user: User) -> UserView:
    return UserView(
        id=user.user_id,
        organization_id=user.org_id,
        external_id=user.external_id,
        name=user.name,
        email=user.email,
        role=user.role,
        status=user.status,
        created_at=user.created_at,
    )
