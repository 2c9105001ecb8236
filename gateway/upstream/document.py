"""One small document from another party's server, now and then: its keys, for instance."""

import asyncio
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from gateway.core.errors import UpstreamBroken

DOCUMENT_BYTES_MAX: Final = 256 * 1024


def may_be_fetched(url: str) -> bool:
    """Over https, or from this machine: what comes otherwise may have been changed on its way."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.username is not None or parts.fragment or not host:
            return False
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def fetch_document(url: str, *, timeout_s: float, tls: ssl.SSLContext | None = None) -> bytes:
    """Its bytes. No redirect is followed, no proxy of the environment asked, no cookie kept.

    Raises UpstreamBroken, OSError, TimeoutError or aiohttp.ClientError.
    """
    assert may_be_fetched(url)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(url, allow_redirects=False, headers={"accept": "application/json"}) as response,
    ):
        if response.status != 200:
            raise UpstreamBroken(f"{url} answered {response.status}.", upstream=url)
        document = b""
        async for piece in response.content.iter_chunked(64 * 1024):
            document += piece
            if len(document) > DOCUMENT_BYTES_MAX:
                raise UpstreamBroken(f"{url} sent more than {DOCUMENT_BYTES_MAX} bytes.", upstream=url)
        return document


async def read_document(path: Path) -> bytes:
    """Raises OSError, or UpstreamBroken where it is too long."""

    def read() -> bytes:
        with path.open("rb") as file:
            return file.read(DOCUMENT_BYTES_MAX + 1)

    document = await asyncio.to_thread(read)
    if len(document) > DOCUMENT_BYTES_MAX:
        raise UpstreamBroken(f"{path} has more than {DOCUMENT_BYTES_MAX} bytes.", upstream=str(path))
    return document
