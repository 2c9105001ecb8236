"""Responses that the replay provider keeps: those that it invented are found again by their ids, and end in time."""

from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.replay.directions import Directions
from gateway.replay.faults import error_object
from gateway.replay.script import Script

KEPT_MAX: Final = 10_000
DONE: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})


class _Kept(msgspec.Struct):
    response: dict[str, Any]
    """As it is when it has ended."""
    input: list[Any]
    looks_left: int
    """How often it is asked for before it has ended."""


class KeptResponses:
    """The oldest are forgotten."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def forget(self) -> None:
        self._kept.clear()

    def keep(self, body: bytes, script: Script, directions: Directions) -> Script:
        """What is answered in place of the script: in the background, that it is queued."""
        if script.recorded or script.status != 200:
            return script
        request = msgspec.json.decode(body)
        if request.get("store") is False:
            return script
        response = _last_of(script)
        if response is None:
            return script
        background = request.get("background") is True
        response |= {
            "background": background,
            "store": True,
            "previous_response_id": request.get("previous_response_id"),
        }
        asked = request.get("input")
        items = [{"type": "message", "role": "user", "content": asked}] if isinstance(asked, str) else asked or []
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        looks = directions.background_looks if background else 0
        self._kept[script.id] = _Kept(response, items, looks)
        if not background:
            return script
        queued = msgspec.json.encode(_under_way(response, "queued"))
        return msgspec.structs.replace(script, pieces=[queued], piece_tokens=[0], usage_piece=None)

    async def retrieve(self, http: web.Request) -> web.Response:
        kept = self._kept.get(http.match_info["id"])
        if kept is None:
            return _missing(http)
        if kept.looks_left:
            kept.looks_left -= 1
            return _json(_under_way(kept.response, "in_progress"))
        return _json(kept.response)

    async def input_items(self, http: web.Request) -> web.Response:
        kept = self._kept.get(http.match_info["id"])
        if kept is None:
            return _missing(http)
        items = [{"id": f"msg_{at}", **item} for at, item in enumerate(kept.input) if isinstance(item, dict)]
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
        return _json({"object": "list", "data": items, "has_more": False, **ends})

    async def cancel(self, http: web.Request) -> web.Response:
        kept = self._kept.get(http.match_info["id"])
        if kept is None:
            return _missing(http)
        if not kept.response["background"]:
            return _refused("Cannot cancel a synchronous response.")
        if kept.looks_left:
            kept.response, kept.looks_left = _under_way(kept.response, "cancelled"), 0
        return _json(kept.response)

    async def delete(self, http: web.Request) -> web.Response:
        id = http.match_info["id"]
        if self._kept.pop(id, None) is None:
            return _missing(http)
        return _json({"id": id, "object": "response", "deleted": True})


def _last_of(script: Script) -> dict[str, Any] | None:
    """The response as its answer has it at the end; None: it has not come to one."""
    body = b"".join(script.pieces)
    if script.streamed:
        body = body.rstrip().rpartition(b"\ndata: ")[2]
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    response = said.get("response", said)
    return response if isinstance(response, dict) and response.get("status") in DONE else None


def _under_way(response: dict[str, Any], status: str) -> dict[str, Any]:
    return {**response, "status": status, "output": [], "usage": None, "incomplete_details": None}


def _missing(http: web.Request) -> web.Response:
    return _refused(f"Response with id '{http.match_info['id']}' not found.", status=404)


def _refused(message: str, *, status: int = 400) -> web.Response:
    return _json(error_object(message, "invalid_request_error"), status=status)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
