"""The keys that people's tokens are verified with: one secret, or an issuer's published set, remembered and renewed.

A set is fetched ahead of need and never for a single request: when it is old, in the background; when a token names a
key that is not in it, at once, but no more often than `retry_s`, however many such tokens come.
"""

import asyncio
import contextlib
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from gateway.core.errors import InvalidToken, TokensUncheckable
from gateway.ops.clock import Clock

log = structlog.get_logger()

KEYS_MAX: Final = 100
RSA_BITS_MIN: Final = 2048
KEY_TYPES: Final = {"HS256": "oct", "RS256": "RSA", "ES256": "EC"}
"""By algorithm. A key of another type is never tried, so that no public key can pass for a secret."""

Fetch = Callable[[], Awaitable[bytes]]
"""Brings the document with the issuer's keys, bounded in size and time; whatever it raises means that it cannot."""


class VerificationKeys(Protocol):
    async def find(self, algorithm: str, key_id: str | None) -> Key:
        """Raises InvalidToken where there is no such key, TokensUncheckable where nobody can tell."""
        ...


class SharedSecret:
    """For HS256: whoever can verify can sign. The key's id does not matter."""

    def __init__(self, secret: str) -> None:
        self._key = OctKey.import_key(secret)

    async def find(self, algorithm: str, key_id: str | None) -> Key:
        assert algorithm == "HS256"
        return self._key


class KeySetSettings(msgspec.Struct, frozen=True, kw_only=True):
    fresh_s: float
    """After it the set is fetched again, while the old one still serves."""
    retry_s: float
    """The least time between two fetches."""
    stale_max_s: float
    """How long a set is believed while its issuer cannot be reached."""


class _JsonKeys(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet:
    """An issuer's JSON Web Key Set (RFC 7517). Keys that are not for verifying signatures here are passed over."""

    def __init__(self, fetch: Fetch, *, clock: Clock, settings: KeySetSettings) -> None:
        self._fetch = fetch
        self._clock = clock
        self._settings = settings
        self._keys: list[Key] = []
        self._fetched_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins the first fetch in the background: a gateway may start while the issuer is away."""
        self._renew()

    async def stop(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._fetching

    async def find(self, algorithm: str, key_id: str | None) -> Key:
        """Without an id: the only key of the algorithm's type."""
        if self._age_s() > self._settings.stale_max_s:
            self._keys = []
        elif self._age_s() > self._settings.fresh_s:
            self._renew()
        key = self._matching(algorithm, key_id)
        if key is None and (fetching := self._renew()) is not None:
            await asyncio.shield(fetching)  # others wait for it, too
            key = self._matching(algorithm, key_id)
        if key is None and not self._keys:
            raise TokensUncheckable("The issuer's keys cannot be had right now; nothing was done.")
        if key is None:
            raise InvalidToken("The token is signed with a key that its issuer does not publish.")
        return key

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._fetched_at_s

    def _matching(self, algorithm: str, key_id: str | None) -> Key | None:
        fitting = [
            key
            for key in self._keys
            if key.key_type == KEY_TYPES[algorithm] and key.get("alg") in (None, algorithm) and _fits(key, algorithm)
        ]
        if key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.kid == key_id), None)

    def _renew(self) -> "asyncio.Task[None] | None":
        """The fetch under way, or a new one where one is due; None: it is too early to ask again."""
        if self._fetching is None:
            now_s = self._clock.monotonic()
            if now_s - self._tried_at_s < self._settings.retry_s:
                return None
            self._tried_at_s = now_s
            self._fetching = asyncio.create_task(self._fetch_once(), name="fetch issuer's keys")
        return self._fetching

    async def _fetch_once(self) -> None:
        try:
            keys = read_key_set(await self._fetch())
        except Exception:  # Where the fetch ends: what is remembered stays, whatever the issuer sent.
            log.warning("issuer.keys_not_fetched", exc_info=True)
        else:
            self._keys, self._fetched_at_s = keys, self._clock.monotonic()
        finally:
            self._fetching = None


def read_key_set(document: bytes) -> list[Key]:
    """The usable keys of a set, at least one. Raises ValueError."""
    listed = msgspec.json.decode(document, type=_JsonKeys).keys
    if len(listed) > KEYS_MAX:
        raise ValueError(f"the set has more than {KEYS_MAX} keys")
    keys = [key for each in listed if (key := _public_key(each)) is not None]
    if not keys:
        raise ValueError("the set has no key for RS256 or ES256")
    return keys


def _public_key(data: dict[str, Any]) -> Key | None:
    """None for what is no key of ours: other types and uses, weak ones, and private or shared ones."""
    if data.get("use", "sig") != "sig" or "verify" not in data.get("key_ops", ["verify"]) or "d" in data:
        return None
    try:
        match data.get("kty"):
            case "RSA":
                return RSAKey.import_key(data) if _bits(data["n"]) >= RSA_BITS_MIN else None
            case "EC":
                return ECKey.import_key(data)
            case _:
                return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(number: str) -> int:
    """Of a number in base64url."""
    return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()


def _fits(key: Key, algorithm: str) -> bool:
    return algorithm != "ES256" or (isinstance(key, ECKey) and key.curve_name == "P-256")
