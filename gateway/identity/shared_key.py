"""A key that one party shares with us through the environment: the operator's for /api, the scraper's for /metrics."""

import hashlib
import hmac

from gateway.core.errors import Unauthenticated


class SharedKey:
    """Compared in constant time and by digest, so that not even the key's length can be measured."""

    def __init__(self, key: str, *, whose: str) -> None:
        assert key
        self._digest = _digest(key)
        self.whose = whose
        """For messages: `operator`."""

    def __repr__(self) -> str:
        return f"SharedKey(…, whose={self.whose!r})"

    def is_it(self, token: str) -> bool:
        return hmac.compare_digest(_digest(token), self._digest)

    def admit(self, token: str) -> None:
        """Raises Unauthenticated."""
        if not self.is_it(token):
            raise Unauthenticated(f"Incorrect {self.whose} key provided.")


def _digest(key: str) -> bytes:
    # A header may hold any bytes; aiohttp brings those that are not UTF-8 as lone surrogates.
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
