"""The usage object of the Responses dialect: OpenAI's chat usage under other names."""

from gateway.core.openai_chat.usage import ReportedUsage

_NAMES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


def report(usage: object, reported: ReportedUsage) -> None:
    """Adds what an answer's `usage` says, whatever it is."""
    if type(usage) is dict:
        reported.add({name: usage[own] for own, name in _NAMES.items() if own in usage})
