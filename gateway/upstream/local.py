"""Servers on this machine that are called over a unix socket, and started when they are needed."""

from typing import Protocol


class Seat(Protocol):
    """One call's place in such a server."""

    @property
    def path(self) -> str:
        """Of its socket."""

    def leave(self) -> None:
        """The call is over. Safe to call twice."""

    def lost(self) -> None:
        """Nobody listens there any more."""


class Local(Protocol):
    async def enter(self, upstream: str) -> Seat:
        """Waits until there is one. Raises UpstreamUnavailable."""
