"""`tollgate replay`: the replay provider on a port of its own, until Ctrl-C."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import click
import msgspec
import uvloop

from gateway.replay.directions import Directions
from gateway.replay.recordings import RecordingBroken
from gateway.replay.server import ReplayOptions, ReplayServer


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8089, show_default=True, type=click.IntRange(0, 65535), help="0: the system chooses.")
@click.option(
    "--recordings",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of *.jsonl or *.jsonl.gz recordings, beside the built-in ones.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Same seed, same bytes.")
@click.option("--latency-ms", default=0, show_default=True, type=click.IntRange(0), help="Before every answer.")
@click.option("--interval-ms", default=0, show_default=True, type=click.IntRange(0), help="Between two events.")
@click.option("--until-eof", is_flag=True, help="Stop when standard input ends, not to outlive whoever started it.")
def replay(
    *,
    host: str,
    port: int,
    recordings: Path | None,
    seed: int,
    latency_ms: int,
    interval_ms: int,
    until_eof: bool,
) -> None:
    """An OpenAI-compatible provider that answers from recordings or invents, and does what x-replay-… headers say."""
    defaults = msgspec.structs.replace(Directions(), latency_ms=latency_ms, interval_ms=interval_ms)
    options = ReplayOptions(recordings=recordings, seed=seed, defaults=defaults)
    try:
        uvloop.run(_run(ReplayServer(options, host=host, port=port), until_eof=until_eof))
    except (OSError, RecordingBroken) as error:
        raise click.ClickException(str(error)) from error


async def _run(server: ReplayServer, *, until_eof: bool) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    if until_eof:
        loop.add_reader(sys.stdin, _read, over)
    async with server:
        click.echo(f"replaying on {server.base_url} (what was sent: {server.url}/_sent)")
        await over.wait()


def _read(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        over.set()
