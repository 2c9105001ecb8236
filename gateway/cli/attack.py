"""`tollgate attack`: known cheats and faults tried on a gateway, and what each of them got out of it."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
from rich.markup import escape

from gateway.attack.client import AttackImpossible
from gateway.attack.run import ATTACKS, Outcome, attack_gateway
from gateway.cli.place import data_dir_option
from gateway.cli.show import credits as in_credits
from gateway.cli.show import print_json, print_lines, table

START_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 90.0
AUDIT_WITHIN_S: Final = 120.0
_LISTENS: Final = "Tollgate listens on "


@click.command()
@click.option("--url", help="The gateway; without it one of its own is started, with the replay provider behind it.")
@click.option(
    "--operator-key-env",
    default="TOLLGATE_OPERATOR_KEY",
    show_default=True,
    help="The environment variable that has the operator's key.",
)
@click.option("--model", default="gpt-4o-mini", show_default=True, help="A model that the gateway serves.")
@click.option("--only", multiple=True, type=click.Choice([each.name for each in ATTACKS]), help="May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@data_dir_option
def attack(
    *, url: str | None, operator_key_env: str, model: str, only: tuple[str, ...], as_json: bool, data_dir: Path | None
) -> None:
    """Attack a gateway through its API, with organisations made for it. Exit code 1 where anything was got out of it.

    A provider that costs money is called for it. With --data-dir the books are audited afterwards.
    """
    try:
        sys.exit(asyncio.run(_attack(url, operator_key_env, model, only, as_json=as_json, data_dir=data_dir)))
    except AttackImpossible as error:
        raise click.ClickException(str(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise click.ClickException(f"the gateway does not answer: {str(error) or type(error).__name__}") from error


async def _attack(
    url: str | None, operator_key_env: str, model: str, only: tuple[str, ...], *, as_json: bool, data_dir: Path | None
) -> int:
    async with _target(url, operator_key_env, data_dir) as (address, operator_key, folder):
        outcomes: list[Outcome] = []
        async for outcome in attack_gateway(url=address, operator_key=operator_key, model=model, only=only):
            outcomes.append(outcome)
            click.echo(f"{outcome.attack.name}: {_word(outcome)}", err=True)
        breaches = None if folder is None else await _audit(folder)
    _show(address, outcomes, breaches, as_json=as_json)
    return int(bool(breaches) or any(outcome.loss is not None and outcome.loss.any for outcome in outcomes))


def _show(url: str, outcomes: list[Outcome], breaches: list[Any] | None, *, as_json: bool) -> None:
    if as_json:
        attacks = [
            {"name": each.attack.name, "tries": each.attack.tries, "skipped": each.loss is None}
            | ({} if each.loss is None else asdict(each.loss))
            for each in outcomes
        ]
        print_json({"url": url, "attacks": attacks, "audit": breaches})
        return
    amounts = ("overspent", "double-charged", "lost", "leaked")
    rows = table("attack", "tries", *amounts, "faults", right=amounts)
    for each in outcomes:
        loss = each.loss
        if loss is None:
            rows.add_row(each.attack.name, each.attack.tries, *("" for _ in amounts), "skipped: a real provider")
            continue
        figures = (loss.overspent_ucr, loss.double_charged_ucr, loss.lost_ucr, loss.leaked_ucr)
        rows.add_row(
            each.attack.name,
            each.attack.tries,
            *("0" if not ucr else in_credits(ucr) for ucr in figures),
            escape("; ".join(loss.faults)),
        )
    sound = "The audit was not asked for: name the data folder with --data-dir."
    if breaches is not None:
        sound = f"The audit found {len(breaches)} breaches." if breaches else "The audit finds the books sound."
    print_lines(rows, sound)


def _word(outcome: Outcome) -> str:
    if outcome.loss is None:
        return "skipped: it needs a provider that goes wrong when it is told to"
    return "got something" if outcome.loss.any else "got nothing"


@contextlib.asynccontextmanager
async def _target(
    url: str | None, operator_key_env: str, data_dir: Path | None
) -> AsyncIterator[tuple[str, str, Path | None]]:
    """The address, the operator's key, and the data folder where it is known: as given, or of a gateway of our own."""
    if url is not None:
        operator_key = os.environ.get(operator_key_env)
        if not operator_key:
            raise click.ClickException(f"{operator_key_env} is not set: it must have the operator's key.")
        yield url, operator_key, data_dir
        return
    folder = await asyncio.to_thread(_make_folder)
    try:
        async with _own_gateway(folder) as (own_url, operator_key):
            yield own_url, operator_key, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tollgate-attack-"))
    folder.chmod(0o755)  # a PostgreSQL that root starts runs as somebody else
    return folder


@contextlib.asynccontextmanager
async def _own_gateway(data_dir: Path) -> AsyncIterator[tuple[str, str]]:
    """Its address and operator's key. It is what `make run` starts, on a free port and in a folder of its own."""
    operator_key = f"op-{secrets.token_urlsafe(16)}"
    kept_out = (
        "DATABASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY",
        "GEMINI_BASE_URL",
    )
    environment = {name: value for name, value in os.environ.items() if name not in kept_out}
    environment["TOLLGATE_OPERATOR_KEY"] = operator_key
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--demo", "--port", "0", "--data-dir", str(data_dir)),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_errors(process, url))
    try:
        yield await asyncio.wait_for(url, START_WITHIN_S), operator_key
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_WITHIN_S):
            await process.wait()
            await reading


async def _read_errors(process: asyncio.subprocess.Process, url: asyncio.Future[str]) -> None:
    """To the end, so that the gateway never waits for its log to be read."""
    assert process.stderr is not None
    line = ""
    while data := await process.stderr.readline():
        line = data.decode(errors="replace").strip()
        if line.startswith(_LISTENS) and not url.done():
            url.set_result(line.removeprefix(_LISTENS).split()[0])
    if not url.done():
        url.set_exception(click.ClickException(f"the gateway did not start: {line}"))


async def _audit(data_dir: Path) -> list[Any]:
    """The breaches that `tollgate audit --full` finds in a data folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "audit", "--full", "--json", "--data-dir", str(data_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(AUDIT_WITHIN_S):
        output, errors = await process.communicate()
    if process.returncode not in (0, 1) or not output:
        raise click.ClickException(f"the audit could not be made: {errors.decode(errors='replace').strip()}")
    breaches: list[Any] = json.loads(output)["violations"]
    return breaches
