"""Who sends a request and what of its head goes on to the provider: worked out once for a head, which SDKs repeat."""

from typing import Final

import msgspec

from gateway.edge.auth import bearer_token
from gateway.edge.connection import Request
from gateway.edge.headers import HeaderPolicy
from gateway.edge.plain_request import PlainRequest
from gateway.identity.keys import hash_of

_CLIENT_REQUEST_ID_CHARS_MAX: Final = 128


class Sender(msgspec.Struct, frozen=True):
    """What a head says. Whether its key is any good is asked anew for each request."""

    key_hash: bytes | None
    """None: what was sent cannot be a key."""
    forward_headers: tuple[tuple[str, str], ...]
    """Those that the allow-list lets pass upstream."""
    client_request_id: str
    """The caller's own x-request-id, kept beside ours; empty where it has none, or one that is not printable ASCII."""


def sender_of(request: Request, policy: HeaderPolicy) -> Sender:
    """Raises Unauthenticated where there is no bearer token."""
    if not isinstance(request, PlainRequest):
        return _read(request, policy)
    head = request.head
    if not isinstance(head.sender, Sender):
        head.sender = _read(request, policy)
    return head.sender


def _read(request: Request, policy: HeaderPolicy) -> Sender:
    return Sender(
        key_hash=hash_of(bearer_token(request, whose="API")),
        forward_headers=tuple(policy.for_upstream(request.headers.items())),
        client_request_id=_client_request_id(request.headers.get("x-request-id", "")),
    )


def _client_request_id(value: str) -> str:
    fits = len(value) <= _CLIENT_REQUEST_ID_CHARS_MAX and value.isascii() and value.isprintable() and " " not in value
    return value if fits else ""
