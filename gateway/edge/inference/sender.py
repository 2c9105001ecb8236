"""Who sends a request, what for, and what of its head goes on to the provider: worked out once for a head, which SDKs
repeat.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.tags import FEATURE_RULE, TAGS_RULE, is_feature, tags_json
from gateway.edge.auth import caller_key
from gateway.edge.connection import Request
from gateway.edge.headers import HeaderPolicy
from gateway.edge.plain_request import PlainRequest
from gateway.identity.keys import hash_of

FEATURE: Final = "x-tollgate-feature"
TAGS: Final = "x-tollgate-tags"
_RULES: Final[Mapping[str, str]] = {FEATURE: FEATURE_RULE, TAGS: TAGS_RULE}
_CLIENT_REQUEST_ID_CHARS_MAX: Final = 128


class Sender(msgspec.Struct, frozen=True):
    """What a head says. Whether its key is any good is asked anew for each request."""

    key_hash: bytes | None
    """None: what was sent cannot be a key."""
    forward_headers: tuple[tuple[str, str], ...]
    """Those that the allow-list lets pass upstream."""
    client_request_id: str
    """The caller's own x-request-id, kept beside ours; empty where it has none, or one that is not printable ASCII."""
    feature: str
    """Empty: none was named."""
    tags: str | None
    """JSON, an array of texts; None: it has none."""
    refused_header: str
    """The name of the header that cannot be taken; empty: all can. Who sends is asked first, so it is refused later."""

    def refusal(self) -> InvalidRequest:
        """Of `refused_header`."""
        name = self.refused_header
        return InvalidRequest(f"The header `{name}` {_RULES[name]}; nothing was reserved.", param=name)


def sender_of(request: Request, policy: HeaderPolicy) -> Sender:
    """Raises Unauthenticated where there is no key."""
    if not isinstance(request, PlainRequest):
        return _read(request, policy)
    head = request.head
    if not isinstance(head.sender, Sender):
        head.sender = _read(request, policy)
    return head.sender


def _read(request: Request, policy: HeaderPolicy) -> Sender:
    feature, tags, refused = _purpose(request)
    return Sender(
        key_hash=hash_of(caller_key(request, key_header=policy.key_header, key_parameter=policy.key_parameter)),
        forward_headers=tuple(policy.for_upstream(request.headers.items())),
        client_request_id=_client_request_id(request.headers.get("x-request-id", "")),
        feature=feature,
        tags=tags,
        refused_header=refused,
    )


def _purpose(request: Request) -> tuple[str, str | None, str]:
    """The feature, the tags, and which of the two headers says none."""
    features = request.headers.getall(FEATURE, [])
    if len(features) > 1 or not all(map(is_feature, features)):
        return "", None, FEATURE
    lists = request.headers.getall(TAGS, [])
    try:
        tags = tags_json(tag.strip(" \t") for tag in ",".join(lists).split(",")) if lists else None
    except ValueError:
        return "", None, TAGS
    return "".join(features), tags, ""


def _client_request_id(value: str) -> str:
    fits = len(value) <= _CLIENT_REQUEST_ID_CHARS_MAX and value.isascii() and value.isprintable() and " " not in value
    return value if fits else ""
