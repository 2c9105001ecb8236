"""What an output item of an answer says that is billed as output."""

from typing import Final

from gateway.core.output_text import OutputText

_SAID_IN: Final = {
    "message": ("content",),
    "reasoning": ("content", "summary"),
    "function_call": ("name", "arguments"),
    "custom_tool_call": ("name", "input"),
    "mcp_call": ("name", "arguments"),
    "code_interpreter_call": ("code",),
    "computer_call": ("action",),
    "local_shell_call": ("action",),
    "shell_call": ("action",),
    "apply_patch_call": ("operation",),
}
"""By the type of an item. What is not here is a tool of the provider's at work, whose results are billed as input."""
_TOLD_PIECE_BY_PIECE: Final = frozenset(
    {"message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "code_interpreter_call"}
)


def say(item: object, said: OutputText) -> bool:
    """Of a whole item: whether it bears content, which `said` then counts."""
    if type(item) is not dict:
        return False
    names = _SAID_IN.get(kind) if type(kind := item.get("type")) is str else None
    if names is None:
        return bool(item)
    return said.say([item.get(name) for name in names])


def is_told_in_pieces(item: object) -> bool:
    """In a stream: deltas have said it before its end comes."""
    return type(item) is dict and item.get("type") in _TOLD_PIECE_BY_PIECE
