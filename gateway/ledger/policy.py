"""What an organisation chose: which account pays first, whose clocks periods follow, what may be dropped."""

from typing import get_args
from uuid import UUID
from zoneinfo import available_timezones

import asyncpg
import msgspec

from gateway.core.caller import UnsupportedFields
from gateway.core.errors import InvalidRequest
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.payment_order import PaymentOrder
from gateway.ledger.accounts import Executor, lock_pool
from gateway.postgres.once import Guard, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("policies")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    payment_order: PaymentOrder = "allocation_first"
    time_zone: str = "UTC"
    """An IANA name. Another one holds from each subscription's next period on; the anchor's day and hour stay."""
    unsupported_fields: UnsupportedFields = "default"
    repeated: bool = False


async def _read(connection: Executor, org_id: UUID) -> Policy:
    row = await connection.fetchrow(_SQL.read_policy, org_id)
    assert row is not None
    return _policy(row)


def _policy(row: asyncpg.Record) -> Policy:
    return Policy(
        payment_order=row["payment_order"],
        time_zone=row["time_zone"],
        unsupported_fields=row["unsupported_fields"],
    )


class Policies:
    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def get(self, org_id: UUID) -> Policy:
        """The defaults where nothing was chosen."""
        return await _read(self._pool, org_id)

    @unavailable_in_outage
    async def set(
        self,
        org_id: UUID,
        *,
        by: Origin,
        payment_order: PaymentOrder | None = None,
        time_zone: str | None = None,
        unsupported_fields: UnsupportedFields | None = None,
        idempotency: Idempotency | None = None,
        guard: Guard[Policy] | None = None,
    ) -> Policy:
        """What is None stays. Raises InvalidRequest, NotFound (no such organisation) or what `guard` raises; then
        nothing changed.
        """
        if payment_order is not None and payment_order not in get_args(PaymentOrder):
            known = ", ".join(get_args(PaymentOrder))
            raise InvalidRequest(f"payment_order must be one of {known}; nothing was changed.", param="payment_order")
        if time_zone is not None and not await self._is_zone(time_zone):
            raise InvalidRequest(
                "time_zone must be the IANA name of a time zone, such as Europe/Berlin; nothing was changed.",
                param="time_zone",
            )

        async def change(connection: Executor) -> Policy:
            await lock_pool(connection, org_id)
            if guard is not None:
                guard(await _read(connection, org_id))
            row = await connection.fetchrow(
                _SQL.set_policy, org_id, payment_order, time_zone, unsupported_fields, by.row()
            )
            assert row is not None
            return _policy(row)

        return await once(self._pool, org_id, idempotency, change, answer=Policy)

    async def _is_zone(self, name: str) -> bool:
        """Postgres computes with it, and so do we: both must know it, as far as this machine knows any."""
        ours = available_timezones()
        if "\x00" in name or (ours and name not in ours):
            return False
        return bool(await self._pool.fetchval(_SQL.knows_zone, name))
