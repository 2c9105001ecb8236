"""`tollgate serve`: starts what it needs, says what it does, and on Ctrl-C settles before it stops."""

import asyncio
import errno
import fcntl
import os
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import click
import uvloop

from gateway.app import Gateway
from gateway.cli.database import bring_up_to_date, connection
from gateway.cli.demo import Demo
from gateway.cli.place import data_dir_option, default_data_dir
from gateway.ops.collector import calm_collector
from gateway.ops.log import LineWriter, configure
from gateway.postgres.binaries import BinariesMissing
from gateway.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from gateway.postgres.migrate import SchemaError
from gateway.postgres.outage import DRIVER_ERRORS
from gateway.postgres.pool import acts_as_application
from gateway.settings import Settings, SettingsError, load_settings


class ServeFailed(click.ClickException):
    """The gateway could not start; the message says why and what helps."""


@click.command()
@click.option("--host", help="Where to listen; overrides the configuration (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="0: the system chooses (default 8080).")
@data_dir_option
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="A TOML file; see config/tollgate.toml."
)
@click.option("--demo", is_flag=True, help="Make a demo organisation on first start; replay where no provider is set.")
def serve(host: str | None, port: int | None, data_dir: Path | None, config: Path | None, demo: bool) -> None:
    """Serve the gateway. Starts a PostgreSQL of its own unless DATABASE_URL names one."""
    try:
        settings = load_settings(config, os.environ, host=host, port=port)
        uvloop.run(_serve(settings, data_dir or default_data_dir(), Demo() if demo else None))
    except (SettingsError, EmbeddedPostgresError, BinariesMissing, SchemaError) as error:
        raise ServeFailed(str(error)) from error
    except DRIVER_ERRORS as error:
        raise ServeFailed(f"the database cannot be used: {str(error) or type(error).__name__}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


async def _serve(settings: Settings, data_dir: Path, demo: Demo | None) -> None:
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        process_log = LineWriter(sys.stderr.buffer, on_drop=lambda: None)
        stack.callback(process_log.stop)
        configure(process_log, level=settings.log_level)
        # Whatever was started last stops first; children go down after the gateway has settled.
        dsn, sole_owner = await _database(settings, data_dir, stack)
        applied = await bring_up_to_date(dsn)
        if applied:
            _say(f"applied {len(applied)} migrations, up to {applied[-1]}")
        await _say_how_the_ledger_is_guarded(dsn)
        if demo is not None:
            settings = await demo.with_provider(settings, stack)
        operator_key = settings.operator_key or _random_operator_key()
        if not settings.upstreams:
            _say("no upstream is set, so no model is served: set OPENAI_API_KEY or configure [[upstreams]]")
        gateway = await _started(settings, dsn, operator_key, sole_owner=sole_owner)
        try:
            if demo is not None:
                await demo.welcome(gateway)
            calm_collector()
            _say(f"Tollgate listens on {gateway.url}  (Ctrl-C settles what is open and stops)")
            await stop.wait()
        finally:
            _say("settling open calls …")
            stopped = await gateway.stop()
            _say(stopped.summary())
    _say("stopped")


async def _started(settings: Settings, dsn: str, operator_key: str, *, sole_owner: bool) -> Gateway:
    try:
        return await Gateway.start(settings, dsn=dsn, operator_key=operator_key, sole_owner=sole_owner)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ServeFailed(f"{settings.host}:{settings.port} is taken; choose another port with --port") from error


async def _say_how_the_ledger_is_guarded(dsn: str) -> None:
    """Rows of the ledger can be added and never changed: by the rights of a role, where this user may take it."""
    async with connection(dsn) as owner:
        if not await acts_as_application(owner):
            _say(
                "the database's user may not act as tollgate_app: a trigger alone keeps ledger rows from being changed"
            )


def _stop_signal() -> asyncio.Event:
    """Set by the first Ctrl-C or SIGTERM; a second one ends the process as if killed, which the sweeper can bear."""
    stop = asyncio.Event()

    def received(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, received, number)
    return stop


async def _database(settings: Settings, data_dir: Path, stack: AsyncExitStack) -> tuple[str, bool]:
    """The DSN, and whether this process is the only gateway that can be using the database."""
    if settings.database_url is not None:
        return settings.database_url, False
    stack.enter_context(_only_gateway_in(data_dir))
    postgres = EmbeddedPostgres(data_dir / "postgres", progress=_say)
    stack.push_async_callback(postgres.stop)
    dsn = await postgres.start()
    if postgres.adopted:
        _say("using the PostgreSQL that still runs in the data folder")
    return dsn, True


class _only_gateway_in:
    """Holds the data folder's lock: with it, every other instance in its database is known to be dead."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def __enter__(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._file = (self._data_dir / "gateway.lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ServeFailed(
                f"another gateway serves from {self._data_dir}; choose another folder with --data-dir, "
                "or set DATABASE_URL to share one database"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _random_operator_key() -> str:
    key = f"op-{secrets.token_urlsafe(32)}"
    _say(f"TOLLGATE_OPERATOR_KEY is not set; this run's operator key is {key}")
    return key


def _say(what: str) -> None:
    click.echo(what, err=True)
