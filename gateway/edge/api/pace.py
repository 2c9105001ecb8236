"""How much of /api one asker may take: requests in a time, and requests at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Final

import msgspec

from gateway.core.access import Principal
from gateway.core.address import counted_as
from gateway.core.errors import TooManyRequests
from gateway.edge.rates import Buckets, Rate
from gateway.ops.clock import Clock

ASKERS_MAX: Final = 10_000
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    requests_per_s_max: _Count = 50
    """Of one principal: the operator, a person, a key. Likewise of an address that reads the documentation."""
    requests_burst_max: _Count = 500
    open_max: _Count = 64
    """Requests of one principal that are under way."""
    batches_open_max: _Count = 2
    """Batches among them: each does one thing after another, but up to a thousand."""


class Pace:
    def __init__(self, settings: ApiSettings, *, clock: Clock) -> None:
        rate = Rate(per_s=settings.requests_per_s_max, burst=settings.requests_burst_max)
        self._principals = Buckets(rate, askers_max=ASKERS_MAX, clock=clock)
        self._addresses = Buckets(rate, askers_max=ASKERS_MAX, clock=clock)
        self._open = _UnderWay("requests", settings.open_max)
        self._batches = _UnderWay("batches", settings.batches_open_max)

    @contextmanager
    def of(self, principal: Principal) -> Iterator[None]:
        """While one of its requests is under way. Raises TooManyRequests."""
        asker = _asker(principal)
        with self._open.one_more(asker):
            _take(self._principals, asker)
            yield

    def of_batch(self, principal: Principal) -> AbstractContextManager[None]:
        """While one of its batches is. Raises TooManyRequests."""
        return self._batches.one_more(_asker(principal))

    def stranger(self, address: str) -> None:
        """A request for which no credential is asked. Raises TooManyRequests."""
        _take(self._addresses, counted_as(address))


class _UnderWay:
    """How many each asker has, and never more than so many."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._count: Counter[str] = Counter()

    @contextmanager
    def one_more(self, asker: str) -> Iterator[None]:
        if self._count.get(asker, 0) >= self._most:
            raise TooManyRequests(
                f"{self._most} of your {self._what} are under way, which is as many as may be; nothing was changed.",
                retry_after_s=1,
            )
        self._count[asker] += 1
        try:
            yield
        finally:
            self._count[asker] -= 1
            if not self._count[asker]:
                del self._count[asker]


def _asker(principal: Principal) -> str:
    return f"{principal.org_id} {principal.actor}"


def _take(buckets: Buckets, asker: str) -> None:
    wait_s = buckets.take(asker)
    if wait_s:
        raise TooManyRequests("Too many requests; nothing was changed.", retry_after_s=wait_s)
