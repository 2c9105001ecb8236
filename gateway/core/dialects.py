"""Every dialect, by its name."""

from collections.abc import Mapping
from typing import Final

from gateway.core.anthropic_messages.dialect import ANTHROPIC_MESSAGES
from gateway.core.cohere_embed.dialect import COHERE_EMBED
from gateway.core.dialect import Dialect, DialectName
from gateway.core.gemini.dialect import GEMINI_EMBED, GEMINI_GENERATE
from gateway.core.openai_chat.dialect import OPENAI_CHAT
from gateway.core.openai_completions.dialect import OPENAI_COMPLETIONS
from gateway.core.openai_embeddings.dialect import OPENAI_EMBEDDINGS
from gateway.core.openai_moderations.dialect import OPENAI_MODERATIONS
from gateway.core.openai_responses.dialect import OPENAI_RESPONSES
from gateway.core.rerank.dialect import RERANK

DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    each.name: each
    for each in (
        OPENAI_CHAT,
        OPENAI_RESPONSES,
        ANTHROPIC_MESSAGES,
        OPENAI_COMPLETIONS,
        OPENAI_EMBEDDINGS,
        COHERE_EMBED,
        OPENAI_MODERATIONS,
        RERANK,
        GEMINI_GENERATE,
        GEMINI_EMBED,
    )
}
"""Those that callers may speak, and in which providers are asked."""
