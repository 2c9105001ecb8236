"""What open calls have cost so far, written down now and then: the least that is charged if this process dies."""

import asyncpg

from gateway.ledger.reservations import Reservations
from gateway.postgres.queries import load

_SQL = load("instances")


async def write_watermarks(pool: asyncpg.Pool, reservations: Reservations) -> None:
    """One statement for all open calls whose cost grew; a row that is busy is written the next time."""
    grown = [
        (id, call.org_id, spent_ucr)
        for id, call in reservations.open.items()
        if call.spent_ucr is not None and (spent_ucr := call.spent_ucr()) > call.written_ucr
    ]
    if not grown:
        return
    written = await pool.fetch(
        _SQL.write_watermarks,
        [org_id for _, org_id, _ in grown],
        [id for id, _, _ in grown],
        [spent_ucr for _, _, spent_ucr in grown],
    )
    for id, spent_ucr in written:
        call = reservations.open.get(id)
        if call is not None:
            call.written_ucr = spent_ucr
