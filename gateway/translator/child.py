"""One process around litellm: started, listened to, ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gateway.translator.settings import Beat, Orders, TranslatorSettings

STOP_S: Final = 5.0
"""From the signal to stop until it is killed."""
MIB: Final = 1024 * 1024
_INHERITED: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What it gets of our environment: neither credentials nor proxies nor anything that litellm reads."""


class Child:
    """`start` it once, `stop` it once. `on_news` is told of its beats, its calls and its end."""

    def __init__(self, orders: Orders, settings: TranslatorSettings, *, on_news: Callable[[], None]) -> None:
        self._orders: Final = orders
        self._settings: Final = settings
        self._on_news: Final = on_news
        self._process: asyncio.subprocess.Process | None = None
        self._ears: asyncio.Task[None] | None = None
        self._emptied: Final = asyncio.Event()
        self._emptied.set()
        self.worn: Final = asyncio.Event()
        """Another one should take its place."""
        self.ended: Final = asyncio.Event()
        self.ready = False
        """Calls may enter."""
        self._retired = False
        self.seats = 0
        """Calls of ours that are open in it."""
        self.beat = Beat(rss_bytes=0, calls=0)
        self.killed_for = ""

    @property
    def path(self) -> str:
        """Of its socket."""
        return self._orders.socket

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def status(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Until it listens. Raises TimeoutError, or OSError where it ended before; it is gone then."""
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "translator",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**environ, "HOME": str(Path(self.path).parent)},
            start_new_session=True,  # Ctrl-C in a terminal is the gateway's alone
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(self._settings.start_s):
                # Its standard input stays open: when that ends, its parent is gone.
                self._process.stdin.write(msgspec.json.encode(self._orders) + b"\n")
                line = await self._process.stdout.readline()
                if not line:
                    raise OSError(f"it ended with {await self._process.wait()} before it listened")
                self.beat = msgspec.json.decode(line, type=Beat)
        except BaseException:
            await self._kill("start")
            raise
        self.ready = True
        self._ears = asyncio.create_task(self._listen(), name=f"translator {self.pid}")

    def enter(self) -> None:
        self.seats += 1
        self._emptied.clear()
        self._on_news()

    def leave(self) -> None:
        self.seats -= 1
        if not self.seats:
            self._emptied.set()
        self._on_news()

    async def retire(self) -> None:
        """No call enters any more; it is stopped once the last has left."""
        self.ready, self._retired = False, True
        await self._emptied.wait()
        await self.stop()

    async def stop(self) -> None:
        """Ends it now. Safe in every state, and twice."""
        self.ready, self._retired = False, True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                await self._kill("stop")
        if self._ears is not None:
            await asyncio.wait([self._ears])

    # --- within -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """To its beats, until it ends, or is silent for too long or far too large and is killed."""
        settings = self._settings
        try:
            while (beat := await self._next_beat()) is not None:
                self.beat = beat
                self.ready = not self._retired  # who beats can be asked again, should a connection have been refused
                if beat.rss_bytes >= 2 * settings.restart_mib * MIB:
                    await self._kill("memory")
                    break
                if beat.calls >= settings.restart_calls or beat.rss_bytes >= settings.restart_mib * MIB:
                    self.worn.set()
                self._on_news()
        except (TimeoutError, ValueError, msgspec.MsgspecError):  # silence, or nonsense
            await self._kill("silent")
        finally:
            self.ready = False
            self.ended.set()
            self._on_news()

    async def _next_beat(self) -> Beat | None:
        """None: it has ended. Raises TimeoutError, ValueError."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(self._settings.silence_s):
            line = await self._process.stdout.readline()
        if line:
            return msgspec.json.decode(line, type=Beat)
        self.ready = False
        await self._process.wait()
        return None

    async def _kill(self, why: str) -> None:
        self.ready, self.killed_for = False, why
        if self._process is not None:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()
