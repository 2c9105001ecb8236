"""An error as an answer, before a dialect writes it. `edge/errors.py` makes these from the error tree."""

from typing import Any

import msgspec


class Rendered(msgspec.Struct, frozen=True):
    """Its status, its extra headers, and the members of its body, dialect aside."""

    status: int
    type: str
    """As OpenAI names it."""
    code: str
    message: str
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, Any] | None = None
