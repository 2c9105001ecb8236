"""Schema migrations: `migrations/NNNN_what.sql`, forward only, each in a transaction, checksummed, under a lock.

A step's transaction takes an advisory lock, reads what was applied, applies the next file and records it. Any number of
processes may migrate at once; and whatever kills one of them, a step is there as a whole or not at all.

Tables and types change by migrations. Functions are source, in `functions/*.sql`: the last step replaces them all where
they are not this version's. One that gets other arguments or leaves needs a migration that drops the old one.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import asyncpg
import msgspec

from gateway import __version__

_LOCK_KEY: Final = 0x746F6C6C67617465
"""b"tollgate" as a bigint: what every process that migrates this database waits for."""
_STEP_TIMEOUT_S: Final = 24 * 3600.0
FUNCTIONS: Final = "functions"
"""What the step that replaces the functions is called among the migrations."""
_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<what>[a-z0-9_]+)\.sql")

_CREATE_TABLES: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer     NOT NULL CONSTRAINT schema_migration_pkey PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS schema_functions (
    one        boolean     NOT NULL DEFAULT true CONSTRAINT schema_functions_pkey PRIMARY KEY CHECK (one),
    version    integer[]   NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
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


class Functions(msgspec.Struct, frozen=True):
    """All functions, to be replaced together."""

    sql: str
    version: tuple[int, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Schema(msgspec.Struct, frozen=True):
    """What a version of Tollgate wants of its database."""

    migrations: Sequence[Migration]
    functions: Functions | None = None


@cache
def shipped_schema() -> Schema:
    """This version's. Read once: a probe asks for it again and again."""
    folder = files("gateway.postgres").joinpath("functions")
    texts = [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]
    version = tuple(int(part) for part in __version__.split("."))
    return Schema(shipped(), Functions("\n\n".join(texts), version))


async def migrate(connection: asyncpg.Connection, schema: Schema | None = None) -> list[str]:
    """Apply what is pending and return the names. Raises SchemaNewer or SchemaAltered before changing anything.

    The connection must act as the schema's owner and be free of a transaction. A step may take a day.
    """
    wanted = schema or shipped_schema()
    applied: list[str] = []
    while (name := await _apply_next(connection, wanted)) is not None:
        applied.append(name)
    return applied


async def pending(connection: asyncpg.Connection, schema: Schema | None = None) -> list[str]:
    """The names of what `migrate` would apply, changing nothing. Raises SchemaNewer or SchemaAltered like it."""
    wanted = schema or shipped_schema()
    exists = await connection.fetchval(
        "SELECT to_regclass('schema_migration') IS NOT NULL AND to_regclass('schema_functions') IS NOT NULL"
    )
    if not exists:
        return [step.name for step in wanted.migrations] + ([FUNCTIONS] if wanted.functions else [])
    names = [step.name for step in await _pending(connection, wanted.migrations)]
    return names + ([FUNCTIONS] if await _functions_differ(connection, wanted.functions) else [])


async def require_current(connection: asyncpg.Connection) -> None:
    """Raise SchemaBehind, SchemaNewer or SchemaAltered unless the schema is exactly this version's."""
    missing = await pending(connection)
    if missing:
        raise SchemaBehind(f"the schema lacks {', '.join(missing)}: run `tollgate migrate`")


async def _apply_next(connection: asyncpg.Connection, wanted: Schema) -> str | None:
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY, timeout=_STEP_TIMEOUT_S)
        await connection.execute(_CREATE_TABLES)
        missing = await _pending(connection, wanted.migrations)
        if not missing:
            return await _apply_functions(connection, wanted.functions)
        await _functions_differ(connection, wanted.functions)  # a newer version's are a reason to stop
        step = missing[0]
        await connection.execute(step.sql, timeout=_STEP_TIMEOUT_S)
        await connection.execute(
            "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)",
            step.number,
            step.name,
            step.sha256,
        )
        return step.name


async def _apply_functions(connection: asyncpg.Connection, functions: Functions | None) -> str | None:
    if functions is None or not await _functions_differ(connection, functions):
        return None
    await connection.execute("SET LOCAL check_function_bodies = off")  # they call each other, in any order
    await connection.execute(functions.sql, timeout=_STEP_TIMEOUT_S)
    await connection.execute(
        "INSERT INTO schema_functions (version, sha256) VALUES ($1, $2) ON CONFLICT (one)"
        " DO UPDATE SET version = excluded.version, sha256 = excluded.sha256, applied_at = clock_timestamp()",
        functions.version,
        functions.sha256,
    )
    return FUNCTIONS


async def _functions_differ(connection: asyncpg.Connection, functions: Functions | None) -> bool:
    row = await connection.fetchrow("SELECT version, sha256 FROM schema_functions")
    if row is None or functions is None:
        return functions is not None
    if tuple(row["version"]) > functions.version:
        version = ".".join(map(str, row["version"]))
        raise SchemaNewer(f"the database has the functions of {version}: upgrade Tollgate")
    return bool(row["sha256"] != functions.sha256)


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
