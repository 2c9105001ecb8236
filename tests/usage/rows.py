"""Ledger rows as settling writes them, for tests of what reads them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from gateway.core.units import UNITS_PER_PRICE
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource

ORG, OTHER_ORG, KEY, OTHER_KEY = (UUID(int=number) for number in range(1, 5))

_ids = IdSource(Clock())


class Books:
    """One org's account and the rows of its calls, with versions as the ledger gives them out."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def open(self, org_id: UUID = ORG) -> None:
        await self._connection.execute("INSERT INTO account (org_id, account_id) VALUES ($1, $1)", org_id)

    async def ended(self, *, used_ucr: int, org_id: UUID = ORG, kind: str = "CHARGE", **fields: Any) -> UUID:
        """A row of `used_ucr` without overage; every column can be said otherwise."""
        version = await self._connection.fetchval(
            "UPDATE account SET version = version + 1 WHERE org_id = $1 RETURNING version", org_id
        )
        row = {
            "org_id": org_id,
            "id": _ids.next(),
            "account_id": org_id,
            "version": version,
            "kind": kind,
            "amount_ucr": used_ucr if kind == "REFUND" else -used_ucr,
            "balance_after_ucr": 0,
            "created_at": datetime.now(UTC),
            "ended": "ok" if kind in {"CHARGE", "RELEASE"} else None,
            "key_id": KEY,
            "numerator": used_ucr * UNITS_PER_PRICE,
            "overage_ucr": 0,
            "waived_ucr": 0,
        } | fields
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self._connection.execute(f"INSERT INTO ledger ({', '.join(row)}) VALUES ({places})", *row.values())
        id = row["id"]
        assert isinstance(id, UUID)
        return id
