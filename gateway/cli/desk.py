"""The operator's desk: what every command of org, key, credits and audit shares, from its options to its exit code."""

import asyncio
import contextlib
import getpass
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import click
from rich.console import RenderableType

from gateway.cli.database import CONNECT_TIMEOUT_S, STATEMENT_TIMEOUT_S, database
from gateway.cli.place import data_dir_option
from gateway.cli.show import print_json, print_lines
from gateway.core.errors import TollgateError
from gateway.core.origin import Origin
from gateway.identity.keys import Keys
from gateway.identity.orgs import Org, Orgs
from gateway.ledger import accounts
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.postgres.binaries import BinariesMissing
from gateway.postgres.embedded import EmbeddedPostgresError
from gateway.postgres.migrate import SchemaError
from gateway.postgres.outage import DRIVER_ERRORS
from gateway.postgres.pool import open_pool
from gateway.settings import SettingsError


class Desk:
    """The rooms a command needs, and how it answers."""

    def __init__(self, *, pool: asyncpg.Pool, orgs: Orgs, keys: Keys, ids: IdSource, as_json: bool) -> None:
        self.pool = pool
        self.orgs = orgs
        self.keys = keys
        self.ids = ids
        self.by = Origin(actor=f"cli:{_user()}")
        """Who sits at it."""
        self._as_json = as_json

    def show(self, value: Any, *lines: RenderableType) -> None:
        """`value` for programs that asked for --json, `lines` for people."""
        if self._as_json:
            print_json(value)
        else:
            print_lines(*lines)


def at_desk(command: Callable[..., Awaitable[int | None]]) -> Callable[..., None]:
    """Adds --json and --data-dir, opens the desk, and turns what was refused into words and exit code 1."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @data_dir_option
    @wraps(command)
    def run(as_json: bool, data_dir: Path | None, **kwargs: Any) -> None:
        async def work() -> int:
            async with _desk(data_dir, as_json=as_json) as desk:
                return await command(desk, **kwargs) or 0

        run_and_exit(work)

    return run


def run_and_exit(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Ends the process with what `work` returns; a refusal is one line on stderr and 1."""
    try:
        code = asyncio.run(work())
    except (TollgateError, SettingsError, SchemaError, EmbeddedPostgresError, BinariesMissing) as error:
        click.echo(f"tollgate: {error}", err=True)
        code = 1
    except DRIVER_ERRORS as error:
        click.echo(f"tollgate: the database cannot be used: {str(error) or type(error).__name__}", err=True)
        code = 1
    sys.exit(code)


def say(what: str) -> None:
    """Progress, on stderr: stdout belongs to the answer."""
    click.echo(f"{what} …", err=True)


@contextlib.asynccontextmanager
async def _desk(data_dir: Path | None, *, as_json: bool) -> AsyncIterator[Desk]:
    async with database(data_dir, progress=say) as dsn:
        pool = await open_pool(
            dsn,
            min_size=1,
            max_size=2,
            statement_timeout_s=STATEMENT_TIMEOUT_S,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            application_name="tollgate cli",
        )
        try:
            ids = await _ids(pool)
            orgs = Orgs(pool, ids=ids, books=accounts)
            # A running gateway hears of a revocation from the database; this process remembers no keys.
            keys = Keys(pool, ids=ids, forget=lambda _: None)
            yield Desk(pool=pool, orgs=orgs, keys=keys, ids=ids, as_json=as_json)
        finally:
            await asyncio.wait_for(pool.close(), CONNECT_TIMEOUT_S)


async def _ids(pool: asyncpg.Pool) -> IdSource:
    """Ids by the database's clock: they decide where a row is stored, and this machine's clock may be far off."""
    clock = Clock()
    ids = IdSource(clock)
    ids.correct(await pool.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint") - clock.unix_ms())
    return ids


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        return str(os.getuid())


def org_view(org: Org) -> dict[str, Any]:
    return {"id": org.org_id, "name": org.name, "status": org.status, "created_at": org.created_at}
