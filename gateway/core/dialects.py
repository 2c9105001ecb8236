"""Every dialect, by its name."""

from collections.abc import Mapping
from typing import Final

from gateway.core.anthropic_messages.dialect import ANTHROPIC_MESSAGES
from gateway.core.dialect import Dialect, DialectName
from gateway.core.openai_chat.dialect import OPENAI_CHAT
from gateway.core.openai_responses.dialect import OPENAI_RESPONSES

DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    each.name: each for each in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES)
}
"""Those that callers may speak, and in which providers are asked."""
