"""The child's life: orders, guard, litellm, a socket, a beat every second; over when its parent is."""

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from gateway.translator.process.engine import Engine
from gateway.translator.process.guard import Guard
from gateway.translator.process.server import Server
from gateway.translator.settings import Beat, Orders

BEAT_S: Final = 1.0
BACKLOG: Final = 4096
SHUTDOWN_S: Final = 1.0
PARENT_GONE: Final = 3


def run() -> None:
    """Reads its orders from standard input, and beats on standard output; ends with the former."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    beats = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # litellm prints
    socket = Path(orders.socket)
    socket.unlink(missing_ok=True)
    threading.Thread(target=_end_with_parent, args=(socket,), daemon=True).start()
    Guard(place for upstream in orders.upstreams for place in upstream.hosts).install()
    engine = Engine()
    # Tracebacks of libraries may quote what was asked. An import that fails has been told by now.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(engine, orders, beats))


def _end_with_parent(socket: Path) -> None:
    """Also when the loop is stuck, or the parent was killed: its end of the pipe closes with it."""
    while os.read(0, 4096):
        pass
    with suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()  # the last one does
    os._exit(PARENT_GONE)


async def _serve(engine: Engine, orders: Orders, beats: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(engine, orders)
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    os.umask(0o077)
    await web.UnixSite(runner, orders.socket, backlog=BACKLOG).start()
    try:
        while not stop.is_set():
            os.write(beats, msgspec.json.encode(Beat(rss_bytes=_rss_bytes(), calls=server.calls)) + b"\n")
            try:
                async with asyncio.timeout(BEAT_S):
                    await stop.wait()
            except TimeoutError:
                continue
    finally:
        await runner.cleanup()
        os._exit(0)  # nothing is left to be done, and litellm's threads need not be waited for


def _rss_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
