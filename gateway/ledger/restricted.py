"""Accounts as they are listed, and those that pay for some models or features alone: opened, and changed in that.

An organisation has few of them: each key remembers them, and each of its calls looks whether they are for it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.payment_order import AccountKind
from gateway.ledger.accounts import Balance, bring_up_to_date, lock_pool
from gateway.postgres.once import Connection, Guard, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("restricted")

RESTRICTED_MAX: Final = 100
"""Of one organisation that are not closed."""
NAMES_MAX: Final = 200
"""Models, or features, that one of them pays for."""
NAME_CHARS_MAX: Final = 200
_WORD_CHARS_MAX: Final = 256

AccountStatus = Literal["active", "suspended", "closed"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is for, and whether it may be used; not what it has."""

    org_id: UUID
    account_id: UUID
    kind: AccountKind
    user_id: UUID | None
    """Whose allocation it is."""
    name: str | None
    models: tuple[str, ...] | None
    features: tuple[str, ...] | None
    """What a restricted one pays for: calls of one of these models, or for one of these features."""
    status: AccountStatus
    is_parked: bool
    """Until a person has looked at books that the audit found wrong."""
    created_at: datetime
    repeated: bool = False


class AccountState(msgspec.Struct, frozen=True):
    terms: Terms
    balance: Balance


class TermsChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    models: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    features: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET


class RestrictedAccounts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def page(
        self,
        org_id: UUID,
        *,
        limit: int,
        offset: int,
        kind: AccountKind | None = None,
        status: AccountStatus | None = None,
        seen_by: UUID | None = None,
    ) -> tuple[list[AccountState], int]:
        """In the order of their ids, with the number of all. `seen_by`: no other user's."""
        which = (org_id, kind, status, seen_by)
        async with self._pool.acquire() as connection:
            await bring_up_to_date(connection, org_id)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(_SQL.page, *which, limit, offset)
                total: int = await connection.fetchval(_SQL.count, *which)
        return [_state(row) for row in rows], total

    @unavailable_in_outage
    async def get(self, org_id: UUID, account_id: UUID, *, seen_by: UUID | None = None) -> AccountState:
        """Raises NotFound; `seen_by`: another user's is none."""
        async with self._pool.acquire() as connection:
            await bring_up_to_date(connection, org_id)
            row = await connection.fetchrow(_SQL.find, org_id, account_id, seen_by)
        if row is None:
            raise _no_account()
        return _state(row)

    @unavailable_in_outage
    async def open(
        self,
        org_id: UUID,
        account_id: UUID,
        *,
        name: str,
        models: Iterable[str] | None,
        features: Iterable[str] | None,
        by: Origin,
        idempotency: Idempotency | None = None,
    ) -> Terms:
        """One that is empty. Raises InvalidRequest, NotFound (no such organisation) or Conflict (there are as many as
        there may be); then nothing was opened.
        """
        facts = (_checked_name(name), _checked("models", models), _checked("features", features))
        _check_is_for_something(*facts[1:])

        async def change(connection: Connection) -> Terms:
            await lock_pool(connection, org_id)
            row = await connection.fetchrow(_SQL.open, org_id, account_id, *facts, RESTRICTED_MAX, by.row())
            if row is None:
                raise Conflict(
                    f"There are {RESTRICTED_MAX} restricted accounts, which is all there may be; nothing was opened."
                )
            return _terms(row)

        return await once(self._pool, org_id, idempotency, change, answer=Terms)

    @unavailable_in_outage
    async def change(
        self,
        org_id: UUID,
        account_id: UUID,
        change: TermsChange,
        *,
        by: Origin,
        idempotency: Idempotency | None = None,
        guard: Guard[Terms] | None = None,
    ) -> Terms:
        """From the next reservation on it pays for what it is for then; what it holds goes on.

        Raises InvalidRequest, NotFound, Conflict (it is not restricted, or closed) or what `guard` raises; then nothing
        changed.
        """

        async def make(connection: Connection) -> Terms:
            row = await connection.fetchrow(_SQL.lock, org_id, account_id)
            if row is None:
                raise _no_account("nothing was changed")
            current = _terms(row)
            if guard is not None:
                guard(current)
            if current.kind != "restricted":
                raise Conflict("Only a restricted account has models or features; nothing was changed.")
            if current.status == "closed":
                raise Conflict("The account is closed; nothing was changed.")
            name = current.name if isinstance(change.name, msgspec.UnsetType) else _checked_name(change.name)
            models, features = (
                before if isinstance(wish, msgspec.UnsetType) else _checked(field, wish)
                for field, before, wish in (
                    ("models", current.models, change.models),
                    ("features", current.features, change.features),
                )
            )
            _check_is_for_something(models, features)
            changed = await connection.fetchrow(_SQL.change, org_id, account_id, name, models, features, by.row())
            assert changed is not None
            return _terms(changed)

        return await once(self._pool, org_id, idempotency, make, answer=Terms)


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= NAME_CHARS_MAX or "\x00" in name:
        raise InvalidRequest(f"name must have 1 to {NAME_CHARS_MAX} characters and no NUL.", param="name")
    return name


def _checked(field: str, names: Iterable[str] | None) -> tuple[str, ...] | None:
    """In their order, each once."""
    if names is None:
        return None
    found = tuple(sorted(set(names)))
    if not 1 <= len(found) <= NAMES_MAX or not all(1 <= len(x) <= _WORD_CHARS_MAX and "\x00" not in x for x in found):
        raise InvalidRequest(
            f"{field} must be 1 to {NAMES_MAX} names of 1 to {_WORD_CHARS_MAX} characters; nothing was changed.",
            param=field,
        )
    return found


def _check_is_for_something(models: tuple[str, ...] | None, features: tuple[str, ...] | None) -> None:
    if models is None and features is None:
        raise InvalidRequest(
            "models, features or both must be given: what the account pays for; nothing was changed.", param="models"
        )


def _no_account(undone: str = "") -> NotFound:
    return NotFound(f"There is no such account; {undone}." if undone else "There is no such account.")


def _state(row: asyncpg.Record) -> AccountState:
    figures = {name: row[name] for name in Balance.__struct_fields__}
    return AccountState(_terms(row), Balance(**figures))


def _terms(row: asyncpg.Record) -> Terms:
    assert row["kind"] in get_args(AccountKind)
    facts = {name: row[name] for name in Terms.__struct_fields__ if name not in ("models", "features", "repeated")}
    return Terms(
        **facts,
        models=None if row["models"] is None else tuple(row["models"]),
        features=None if row["features"] is None else tuple(row["features"]),
    )
