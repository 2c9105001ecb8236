"""The people of an organisation. Each has an account, filled by the rule for the role when the user is made."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound, OrgSuspended
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.roles import Role
from gateway.core.units import credits_text
from gateway.ops.ids import IdSource
from gateway.postgres.once import Connection, Guard, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("users")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")
_EMAIL_CHARS_MAX: Final = 254
ERASED: Final = "erased:"
"""What the external ids of those begin with whose data was erased, and nobody else's."""

UserStatus = Literal["active", "suspended"]


class User(msgspec.Struct, frozen=True, kw_only=True):
    org_id: UUID
    user_id: UUID
    external_id: str
    """What the organisation itself calls them."""
    name: str
    email: str | None
    role: Role
    status: UserStatus
    created_at: datetime
    repeated: bool = False

    @property
    def account_id(self) -> UUID:
        """A user's allocation bears the user's own id, as an org's pool bears the org's."""
        return self.user_id


class Users:
    """`forget_org` drops the organisation's keys from this process's cache; others hear of it from the database."""

    def __init__(self, pool: asyncpg.Pool, *, ids: IdSource, forget_org: Callable[[UUID], None]) -> None:
        self._pool = pool
        self._ids = ids
        self._forget_org = forget_org

    @unavailable_in_outage
    async def create(
        self,
        org_id: UUID,
        *,
        external_id: str,
        name: str,
        by: Origin,
        role: Role = "member",
        email: str | None = None,
        user_id: UUID | None = None,
        idempotency: Idempotency | None = None,
    ) -> User:
        """The user, the account and what the role's rule gives, or nothing of it. Again with the same facts changes
        nothing and answers the same; `user_id` is made by whoever must know it before.

        Raises InvalidRequest, NotFound (no such organisation), Conflict (the id or external id is taken),
        InsufficientCredits or OrgSuspended (the pool cannot give what the rule takes from it); then nothing was made.
        """
        _check(external_id=external_id, name=name, role=role, email=email)
        id = user_id or self._ids.next()

        async def change(connection: Connection) -> User:
            row = await connection.fetchrow(_SQL.create_user, org_id, id, external_id, name, email, role, by.row())
            assert row is not None
            _refuse_unless_made(row, org_id, role)
            return msgspec.json.decode(row["answer"], type=User)

        return await once(self._pool, org_id, idempotency, change, answer=User)

    @unavailable_in_outage
    async def get(self, org_id: UUID, user_id: UUID) -> User:
        """Raises NotFound."""
        return _user(await self._pool.fetchrow(_SQL.find_user, org_id, user_id), org_id, str(user_id))

    @unavailable_in_outage
    async def named(self, org_id: UUID, id_or_external_id: str) -> User:
        """By id, or by external id. Raises NotFound."""
        try:
            return await self.get(org_id, UUID(id_or_external_id))
        except (ValueError, NotFound):
            row = await self._pool.fetchrow(_SQL.find_user_by_external_id, org_id, id_or_external_id)
            return _user(row, org_id, id_or_external_id)

    @unavailable_in_outage
    async def page(self, org_id: UUID, *, limit: int, offset: int) -> tuple[list[User], int]:
        """Oldest first, with the number of all. An unknown org has none."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_SQL.list_users, org_id, limit, offset)
            total: int = await connection.fetchval(_SQL.count_users, org_id)
        return [User(**dict(row.items())) for row in rows], total

    async def suspend(self, org_id: UUID, user_id: UUID, *, by: Origin, idempotency: Idempotency | None = None) -> User:
        """The user's keys are refused; calls already open end as they would. Again changes nothing.

        Raises NotFound, or Conflict where their data was erased.
        """
        return await self._change(org_id, user_id, by=by, status="suspended", idempotency=idempotency)

    async def resume(self, org_id: UUID, user_id: UUID, *, by: Origin, idempotency: Idempotency | None = None) -> User:
        """Raises as `suspend` does."""
        return await self._change(org_id, user_id, by=by, status="active", idempotency=idempotency)

    async def set_role(
        self,
        org_id: UUID,
        user_id: UUID,
        role: Role,
        *,
        by: Origin,
        idempotency: Idempotency | None = None,
        guard: Guard[User] | None = None,
    ) -> User:
        """Credits stay as they are: rules are for new users. Raises InvalidRequest, and as `suspend` and `guard` do."""
        _check_role(role)
        return await self._change(org_id, user_id, by=by, role=role, idempotency=idempotency, guard=guard)

    @unavailable_in_outage
    async def _change(
        self,
        org_id: UUID,
        user_id: UUID,
        *,
        by: Origin,
        role: Role | None = None,
        status: UserStatus | None = None,
        idempotency: Idempotency | None,
        guard: Guard[User] | None = None,
    ) -> User:
        async def change(connection: Connection) -> User:
            if guard is not None:
                guard(_user(await connection.fetchrow(_SQL.lock_user, org_id, user_id), org_id, str(user_id)))
            row = await connection.fetchrow(_SQL.change_user, org_id, user_id, role, status, by.row())
            if row is not None and row["erased"]:
                raise Conflict("The user's data was erased, and they stay as they are; nothing was changed.")
            return _user(row, org_id, str(user_id))

        changed = await once(self._pool, org_id, idempotency, change, answer=User)
        self._forget_org(org_id)
        return changed


def _refuse_unless_made(row: asyncpg.Record, org_id: UUID, role: Role) -> None:
    match row["status"]:
        case "no_org":
            raise NotFound(f"There is no organisation {org_id}; the user was not created.")
        case "mismatch":
            raise Conflict("There is a user with this id or external id and other facts; nothing was changed.")
        case "suspended":
            raise OrgSuspended("The organisation's pool is suspended or owes; the user was not created.")
        case "insufficient":
            raise InsufficientCredits(
                f"The pool has {credits_text(row['available_ucr'])} credits available, and a {role} begins with "
                f"{credits_text(row['required_ucr'])} of them; the user was not created.",
                available_ucr=row["available_ucr"],
                required_ucr=row["required_ucr"],
            )


def _user(row: asyncpg.Record | None, org_id: UUID, asked: str) -> User:
    if row is None:
        raise NotFound(f"Organisation {org_id} has no user {asked}.")
    fields = dict(row.items())
    fields.pop("erased", None)
    return User(**fields)


def _check(*, external_id: str, name: str, role: Role, email: str | None) -> None:
    for param, text in (("external_id", external_id), ("name", name)):
        if _LINE.fullmatch(text) is None:
            raise InvalidRequest(f"{param} must be one line of 1 to 200 characters.", param=param)
    if external_id.startswith(ERASED):
        raise InvalidRequest(
            f"external_id must not begin with `{ERASED}`, as those of erased users do; nothing was created.",
            param="external_id",
        )
    if email is not None and (len(email) > _EMAIL_CHARS_MAX or _EMAIL.fullmatch(email) is None):
        raise InvalidRequest("email must be an e-mail address.", param="email")
    _check_role(role)


def _check_role(role: Role) -> None:
    if role not in get_args(Role):
        raise InvalidRequest(f"role must be one of {', '.join(get_args(Role))}.", param="role")
