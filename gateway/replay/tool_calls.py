"""Which tools an invented answer calls, and with what: what the request demands, else what its question names."""

from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any, Final

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.heard import Heard, named_in
from gateway.replay.request import ChatRequest
from gateway.replay.schema_example import example

_encode: Final = msgspec.json.Encoder().encode


def tool_calls(request: ChatRequest, directions: Directions) -> list[tuple[str, str]]:
    """Name and arguments, in JSON, of each call; the arguments take from the question what their schema allows."""
    heard = Heard(request.prompt)
    return [
        (str(function.get("name", "tool")), _encode(example(function.get("parameters", {}), heard)).decode())
        for function in _chosen(request, directions)
    ]


def _chosen(request: ChatRequest, directions: Directions) -> list[Mapping[str, Any]]:
    offered = {str(function.get("name", "tool")): function for function in map(_function, request.tools)}
    if not offered or request.tool_choice == "none":
        return []
    demanded = _demanded(request.tool_choice)
    if demanded in offered:
        offered = {demanded: offered[demanded]}
    if directions.tool_calls is not None:
        return list(islice(cycle(offered.values()), directions.tool_calls))
    if directions.output_tokens is not None or (request.after_tool and demanded is None):
        return []
    if request.after_tool:
        # Who demands a call after a result waits for another tool's, as for the one that takes the final answer.
        fresh = [function for name, function in offered.items() if name not in request.called]
        return [*fresh, *offered.values()][:1]
    named = [offered[name] for name in named_in(request.prompt, offered)]
    return (named if request.parallel else named[:1]) or [*offered.values()][:1]


def _demanded(tool_choice: object) -> str | None:
    """The name of the tool that must be called; an empty one where any will do, None where none need be."""
    if isinstance(tool_choice, dict):
        return str(_function(tool_choice).get("name", ""))
    return "" if tool_choice == "required" else None


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    return function if isinstance(function, dict) else {}
