"""What the end of a JSON object says, where the whole was too large to keep: usage stands last in most answers."""

import re
from collections.abc import Iterator
from typing import Final

TAIL_BYTES: Final = 16 * 1024
TRIES_MAX: Final = 16
_USAGE: Final = re.compile(rb'"(?:usage|meta)"\s*+:')


def last_members(tail: bytes) -> Iterator[bytes]:
    """Objects of the members from a `usage` or `meta` on, the longest first. Where one is JSON, its key was one of the
    object's own: of a key that stands deeper, or in a text, too many brackets follow, or a quote."""
    for match in list(_USAGE.finditer(tail))[-TRIES_MAX:]:
        yield b"{" + tail[match.start() :]
