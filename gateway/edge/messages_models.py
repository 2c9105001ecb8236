"""The models of a key in Anthropic's shape: those that can be called in its dialect, page by page."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from gateway.core.dialect import DialectName
from gateway.edge.requests import Line
from gateway.relay.catalogue import CatalogueEntry

DIALECT: Final[DialectName] = "anthropic-messages"


class ModelsQuery(msgspec.Struct, frozen=True):
    """What else is asked is passed over, as Anthropic does."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    after_id: Line | None = None
    before_id: Line | None = None


def page_of(entries: Iterable[CatalogueEntry], query: ModelsQuery) -> dict[str, Any]:
    """`entries` are sorted by name; the page is behind `after_id`, or before `before_id`, be there such a model or
    not."""
    names = [entry for entry in entries if any(DIALECT in target.dialects for target in entry.targets)]
    if query.after_id is not None:
        names = [entry for entry in names if entry.name > query.after_id]
    if query.before_id is not None:
        names = [entry for entry in names if entry.name < query.before_id]
    backwards = query.before_id is not None and query.after_id is None
    page = names[-query.limit :] if backwards else names[: query.limit]
    return {
        "data": [shown(entry) for entry in page],
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
        "has_more": len(names) > len(page),
    }


def shown(entry: CatalogueEntry) -> dict[str, Any]:
    return {
        "type": "model",
        "id": entry.name,
        "display_name": entry.name,
        "created_at": datetime.fromtimestamp(entry.created, UTC),
        "max_input_tokens": entry.context_tokens,
        "max_tokens": entry.output_tokens_max,
    }
