"""The tools of a request: functions that the caller runs, and what Google runs itself."""

from typing import Final

import msgspec

from gateway.core.gemini.spelling import Keys, one_or_many
from gateway.core.request_body import NULL, is_set, not_yours

_TOOL: Final = Keys({"functionDeclarations", "fileSearch", "retrieval"})
_OF_OTHERS: Final = ("fileSearch", "retrieval")
"""They search what is stored under names, which are the operator's and so everybody's."""


class Tools(msgspec.Struct, gc=False):
    any: bool = False
    hosted: bool = False


def read_tools(value: msgspec.Raw) -> Tools:
    """One tool or an array of them; each may be several at once. Raises InvalidRequest."""
    tools = Tools()
    for at, fields in enumerate(one_or_many(value, "tools")):
        tool = _TOOL.read(fields, f"tools[{at}]")
        for name in _OF_OTHERS:
            if is_set(tool, name):
                raise not_yours(f"tools[{at}].{name}")
        asked = {name for name in tool if tool[name] != NULL}
        tools.any |= bool(asked)
        tools.hosted |= bool(asked - {"functionDeclarations"})
    return tools
