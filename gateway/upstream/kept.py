"""What a provider keeps, asked for by its id: whole, once, and for nothing."""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.errors import UpstreamBroken, UpstreamRejectedCredential
from gateway.upstream.client import UpstreamClient
from gateway.upstream.registry import Upstream

KEPT_BYTES_MAX: Final = 64 * 1024 * 1024
_OUR_CREDENTIAL: Final = frozenset({401, 402, 403})


class KeptAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


async def ask_whole(
    client: UpstreamClient,
    upstream: Upstream,
    method: str,
    path: str,
    dialect: DialectName,
    *,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> KeptAnswer:
    """Raises UpstreamFailed where there is no answer, or none that may be shown."""
    name = upstream.name
    answer = await client.send(upstream, path, body, headers, dialect=dialect, method=method)
    try:
        if answer.status in _OUR_CREDENTIAL:
            raise UpstreamRejectedCredential("The provider refused the gateway's credential.", upstream=name)
        if 300 <= answer.status < 400:
            raise UpstreamBroken("The provider answered with a redirect.", upstream=name)
        parts: list[bytes] = []
        size = 0
        while chunk := await answer.read(upstream.timeouts.idle_s):
            parts.append(chunk)
            size += len(chunk)
            if size > KEPT_BYTES_MAX:
                raise UpstreamBroken(f"The provider's answer has more than {KEPT_BYTES_MAX} bytes.", upstream=name)
    except BaseException:
        answer.abort()
        raise
    answer.release()
    return KeptAnswer(answer.status, tuple(answer.headers), b"".join(parts))
