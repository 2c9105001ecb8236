"""The operator: one key, from the environment, for /api."""

import hashlib
import hmac

from gateway.core.errors import Unauthenticated


class OperatorKey:
    """Compared in constant time and by digest, so that not even the key's length can be measured."""

    def __init__(self, key: str) -> None:
        assert key
        self._digest = _digest(key)

    def __repr__(self) -> str:
        return "OperatorKey(…)"

    def admit(self, token: str) -> None:
        """Raises Unauthenticated."""
        if not hmac.compare_digest(_digest(token), self._digest):
            raise Unauthenticated("Incorrect operator key provided.")


def _digest(key: str) -> bytes:
    # A header may hold any bytes; aiohttp brings those that are not UTF-8 as lone surrogates.
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
