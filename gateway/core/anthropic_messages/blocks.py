"""What a content block of an answer says that is billed as output."""

from gateway.core.output_text import OutputText

_SAID_IN = {
    "text": ("text",),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
    "tool_use": ("name", "input"),
    "server_tool_use": ("name", "input"),
    "mcp_tool_use": ("name", "input"),
    "compaction": ("content",),
}
"""By the type of a block. All others are results of the provider's tools, which are billed as input."""


def say(block: object, said: OutputText) -> bool:
    """Whether it bears content: something billed, which `said` then counts, or the result of a tool."""
    if type(block) is not dict:
        return False
    names = _SAID_IN.get(kind) if type(kind := block.get("type")) is str else None
    if names is None:
        return bool(block)
    return said.say([block.get(name) for name in names])
