"""Schema migrations: `migrations/NNNN_what.sql`, forward only, each in a transaction, checksummed, under a lock.

A step's transaction takes an advisory lock, reads what was applied, applies the next file and records it. Any number of
processes may migrate at once; and whatever kills one of them, a step is there as a whole or not at all.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import asyncpg
import msgspec

_LOCK_KEY: Final = 0x746F6C6C67617465
"""b"tollgate" as a bigint: what every process that migrates this database waits for."""
_STEP_TIMEOUT_S: Final = 24 * 3600.0
_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<what>[a-z0-9_]+)\.sql")

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer     NOT NULL CONSTRAINT schema_migration_pkey PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class SchemaError(Exception):
    """The database's schema is not one that this version may work with or change; nothing was changed."""


class SchemaNewer(SchemaError):
    """The database was migrated by a newer version of Tollgate."""


class SchemaAltered(SchemaError):
    """A migration was applied with another content or name, or one between others is missing."""


class SchemaBehind(SchemaError):
    """Migrations are pending: run `tollgate migrate`."""


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """This version's migrations, by number. Raises ValueError for a file that is misnamed or a number used twice."""
    found: dict[int, Migration] = {}
    for file in files("gateway.postgres").joinpath("migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        parts = _FILE_NAME.fullmatch(file.name)
        if parts is None or int(parts["number"]) in found:
            raise ValueError(f"migrations/{file.name}: the name must be NNNN_what.sql with a number of its own")
        found[int(parts["number"])] = Migration(int(parts["number"]), file.name[:-4], file.read_text("utf-8"))
    return [found[number] for number in sorted(found)]


async def migrate(connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is pending and return the names. Raises SchemaNewer or SchemaAltered before changing anything.

    The connection must act as the schema's owner and be free of a transaction. A step may take a day.
    """
    known = shipped() if migrations is None else migrations
    applied: list[str] = []
    while (name := await _apply_next(connection, known)) is not None:
        applied.append(name)
    return applied


async def pending(connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """What `migrate` would apply, changing nothing. Raises SchemaNewer or SchemaAltered like it."""
    known = shipped() if migrations is None else migrations
    exists = await connection.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL")
    return await _pending(connection, known) if exists else list(known)


async def require_current(connection: asyncpg.Connection) -> None:
    """Raise SchemaBehind, SchemaNewer or SchemaAltered unless the schema is exactly this version's."""
    missing = await pending(connection)
    if missing:
        raise SchemaBehind(f"the schema lacks {', '.join(step.name for step in missing)}: run `tollgate migrate`")


async def _apply_next(connection: asyncpg.Connection, known: Sequence[Migration]) -> str | None:
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY, timeout=_STEP_TIMEOUT_S)
        await connection.execute(_CREATE_TABLE)
        missing = await _pending(connection, known)
        if not missing:
            return None
        step = missing[0]
        await connection.execute(step.sql, timeout=_STEP_TIMEOUT_S)
        await connection.execute(
            "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)",
            step.number,
            step.name,
            step.sha256,
        )
        return step.name


async def _pending(connection: asyncpg.Connection, known: Sequence[Migration]) -> list[Migration]:
    rows = await connection.fetch("SELECT number, name, sha256 FROM schema_migration ORDER BY number")
    newest_known = known[-1].number if known else 0
    by_number = {step.number: step for step in known}
    for row in rows:
        if row["number"] > newest_known:
            raise SchemaNewer(f"the database has {row['name']}, which this version does not know: upgrade Tollgate")
        step = by_number.get(row["number"])
        if step is None or step.name != row["name"] or step.sha256 != row["sha256"]:
            raise SchemaAltered(f"the database's {row['name']} is not the migration that this version has")
    applied = {row["number"] for row in rows}
    missing = [step for step in known if step.number not in applied]
    if missing and rows and missing[0].number < rows[-1]["number"]:
        raise SchemaAltered(f"{missing[0].name} was not applied although {rows[-1]['name']} was")
    return missing
