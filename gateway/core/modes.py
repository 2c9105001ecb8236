"""What kind of model speaks which dialects: a chat model embeds nothing, a model for embeddings says nothing."""

from collections.abc import Mapping
from typing import Final, get_args

from gateway.core.dialect import DialectName

_EMBEDDINGS: Final[frozenset[DialectName]] = frozenset({"openai-embeddings", "cohere-embed", "gemini-embed"})
DIALECTS_OF_MODE: Final[Mapping[str, frozenset[DialectName]]] = {
    "chat": frozenset(
        {"openai-chat", "openai-responses", "openai-completions", "anthropic-messages", "gemini-generate"}
    ),
    "responses": frozenset({"openai-responses"}),
    "completion": frozenset({"openai-completions"}),
    "embedding": _EMBEDDINGS,
    "moderation": frozenset({"openai-moderations"}),
    "rerank": frozenset({"rerank"}),
}
"""By the price map's names for the kinds. Those that are not here have no dialect: their models are not served."""
ANY_MODE: Final = ""
"""Of a model of which nothing but its price is known: nobody says that it cannot."""
_ALL: Final[frozenset[DialectName]] = frozenset(get_args(DialectName))


def dialects_of(mode: str) -> frozenset[DialectName]:
    return _ALL if mode == ANY_MODE else DIALECTS_OF_MODE[mode]
