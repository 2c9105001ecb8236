"""The processes around litellm, as the gateway's client for providers sees them: a place for each call."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final

from gateway.core.errors import UpstreamUnavailable
from gateway.ops.metrics import Metrics
from gateway.translator.child import Child
from gateway.translator.settings import Translated, TranslatorSettings
from gateway.translator.slot import Slot

GIVEN_UP_AFTER: Final = 3
"""Failures one after the other; from then on calls are refused instead of waiting for the next start."""


class Seat:
    """A call's place in a process, to be left once its answer is over."""

    __slots__ = ("_child", "_left")

    def __init__(self, child: Child) -> None:
        self._child = child
        self._left = False
        child.enter()

    @property
    def path(self) -> str:
        """Of the process's socket."""
        return self._child.path

    def leave(self) -> None:
        """Safe to call twice."""
        if not self._left:
            self._left = True
            self._child.leave()

    def lost(self) -> None:
        """Nobody listens there: no other call shall enter before the process has said that it lives."""
        self._child.ready = False


class Translator:
    """Starts nothing before the first call. `stop` it when the last has ended."""

    def __init__(self, settings: TranslatorSettings, upstreams: tuple[Translated, ...], *, metrics: Metrics) -> None:
        self._settings: Final = settings
        self._upstreams: Final = upstreams
        self._metrics: Final = metrics
        self._slots: list[Slot] = []
        self._news = asyncio.Event()
        self._folder: Path | None = None

    @property
    def children(self) -> list[Child]:
        """Those that take calls."""
        return [slot.child for slot in self._slots if slot.child is not None and slot.child.ready]

    async def enter(self, upstream: str) -> Seat:
        """A place in the process with the fewest calls; waits until one is up.

        Raises UpstreamUnavailable where all are full, or none comes up.
        """
        if not self._slots:
            self._start()
        try:
            async with asyncio.timeout(self._settings.start_s):
                while not (up := [slot for slot in self._slots if slot.up]):
                    if all(slot.failures >= GIVEN_UP_AFTER for slot in self._slots):
                        raise TimeoutError
                    await self._news.wait()
        except TimeoutError:
            raise UpstreamUnavailable(
                "The process that translates for this provider does not come up; nothing was sent.", upstream=upstream
            ) from None
        child = min(up, key=lambda slot: slot.seats).child
        assert child is not None
        if child.seats >= self._settings.calls_max:
            raise UpstreamUnavailable(
                f"The processes that translate for this provider have {self._settings.calls_max} open calls each, "
                "as many as they may have; nothing was sent.",
                upstream=upstream,
            )
        return Seat(child)

    async def stop(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    # --- within -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        folder = self._folder = Path(tempfile.mkdtemp(prefix="tollgate-"))  # its owner's alone
        for number in range(self._settings.processes):
            slot = Slot(
                number, self._settings, self._upstreams, folder=folder, metrics=self._metrics, changed=self._changed
            )
            self._slots.append(slot)
            slot.start()

    def _changed(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
