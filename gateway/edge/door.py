"""The door of /v1 and /api: from which address somebody comes, whether their key may come from there, and how often
those without a good credential may try.

Only failures are counted. A good credential that this process has seen is let in however many bad ones come from its
address, which behind a proxy or a company's gateway may be everybody's; and nobody pays for being let in. What it has
not seen would have to be looked up, and from an address above its limit nothing new is: such failures cost the database
nothing.
"""

from typing import Annotated, Final

import msgspec
from aiohttp import web

from gateway.core.address import Network, address_behind, address_of, counted_as, is_within, network_of
from gateway.core.caller import Caller, KeyKind
from gateway.core.errors import Forbidden, TooManyFailures, Unauthenticated
from gateway.edge.connection import Request
from gateway.edge.rates import Buckets, Rate
from gateway.ops.clock import Clock

FORWARDED_FOR: Final = "x-forwarded-for"
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    failures_per_minute_max: _Count = 60
    """Wrong or missing credentials of one address; above it they are 429 where they would be 401."""
    failures_burst_max: _Count = 60
    addresses_max: _Count = 10_000
    """So many addresses are remembered; who failed longest ago is forgotten first."""


class Door:
    def __init__(self, settings: AuthSettings, *, clock: Clock) -> None:
        """Raises ValueError where a trusted proxy is no network."""
        self._trusted: tuple[Network, ...] = tuple(map(network_of, settings.trusted_proxies))
        rate = Rate(per_s=settings.failures_per_minute_max / 60, burst=settings.failures_burst_max)
        self._failures = Buckets(rate, askers_max=settings.addresses_max, clock=clock)

    def address(self, request: Request) -> str:
        """The asker's: the peer's, or what a trusted proxy says. Empty for a unix socket."""
        transport = request.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._trusted:
            return address
        return address_behind(address, request.headers.getall(FORWARDED_FOR, []), self._trusted)

    def refusal(self, request: Request, error: Unauthenticated) -> Unauthenticated | TooManyFailures:
        """What someone is told whose credential was found wrong: that, or after too many that it was too often."""
        wait_s = self._failures.take(counted_as(self.address(request)))
        return error if wait_s == 0 else _too_many(wait_s)

    def let_look_up(self, request: Request) -> None:
        """Raises TooManyFailures where the address is above its limit: nothing new is looked up for it."""
        wait_s = self._failures.wait_s(counted_as(self.address(request)))
        if wait_s > 0:
            raise _too_many(wait_s)

    def admit(self, caller: Caller, request: Request) -> None:
        """Raises Forbidden where the key may not be used from there."""
        if caller.ip_allow is not None and not is_within(address_of(self.address(request)), caller.ip_allow):
            raise Forbidden("This API key may not be used from this address; nothing was reserved or sent.")

    def admit_to_inference(self, caller: Caller, request: Request) -> None:
        """Raises Forbidden for a management key, and as `admit` does."""
        self.admit(caller, request)
        if caller.kind is KeyKind.MANAGEMENT:
            raise Forbidden(
                "This is a management key: it administers its organisation on /api and cannot infer. Use a key of kind "
                "`inference`; nothing was reserved or sent."
            )


def _too_many(wait_s: float) -> TooManyFailures:
    return TooManyFailures("Too many wrong or missing credentials came from this address.", retry_after_s=wait_s)


DOOR: Final = web.AppKey("door", Door)
