"""JSON answers of /api and of the account endpoints: decimals are exact numbers, instants RFC 3339."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=_ENCODER.encode(value), status=status, headers=headers, content_type="application/json")
