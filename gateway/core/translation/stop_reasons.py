"""Why a model stopped, in both dialects.

Sources: the references of OpenAI's chat completions (`finish_reason`) and of Anthropic's messages (`stop_reason`).
"""

from typing import Final

FINISH_REASON: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""By Anthropic's stop reason."""

STOP_REASON: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "model_length": "max_tokens",  # Mistral
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""By the chat dialect's finish reason."""


def finish_reason(stop_reason: str) -> str:
    """An unknown reason is a stop: the answer is whole as far as anyone knows."""
    return FINISH_REASON.get(stop_reason, "stop")


def stop_reason(finish_reason: str, *, native: str = "", tools_called: bool, refused: bool = False) -> str:
    """`native` is what the provider itself called it, where the answer tells (OpenRouter's `native_finish_reason`):
    of several reasons that share a finish reason it says which. `refused`: the answer holds a refusal.

    Some providers stop for tools and call it "stop", or nothing at all; who waits for `tool_use` would never run them.
    """
    if FINISH_REASON.get(native) == finish_reason:
        return native
    found = STOP_REASON.get(finish_reason, "end_turn")
    if found == "end_turn" and refused:
        return "refusal"
    if found in ("end_turn", "tool_use"):
        return "tool_use" if tools_called else "end_turn"
    return found
