"""Items of the Responses dialect: what a model thought, what it cites, and the answer that holds them.

Sources: OpenAI's reference of the Responses API, its guide on reasoning (`encrypted_content` for who stores nothing),
OpenRouter's page on reasoning tokens (`openai-responses-v1`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.core.translation.reasoning import CARRIED, TEXT_KEY, carried

RESPONSES_FORMAT: Final = "openai-responses-v1"
"""What OpenRouter calls details that are pieces of a reasoning item."""
ENCRYPTED: Final = "reasoning.encrypted"
ECHOED: Final = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""Of a request, in its answer."""

_NOT_ASKED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
_ASKED: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DETAIL: Final = msgspec.json.Decoder(dict[str, Any])

Item = dict[str, Any]
Detail = Mapping[str, Any]


def response(*, id: str, created: int, model: str, status: str, request: bytes | None) -> dict[str, Any]:
    """Without what it says. `request` is the caller's own, whose settings an answer repeats."""
    try:
        asked = _ASKED.decode(request) if request else {}
    except (msgspec.DecodeError, RecursionError):
        asked = {}
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        **_NOT_ASKED,
        **{key: asked[key] for key in ECHOED if key in asked},
        "usage": None,
    }


# --- reasoning: details of a chat ⇄ items ----------------------------------------------------------------------------


def goes_into(last: Detail, detail: Detail) -> bool:
    """Whether a detail belongs into the reasoning item of the one before it."""
    return (
        detail.get("format") == last.get("format") == RESPONSES_FORMAT
        and (
            detail.get("id") == last.get("id") or None in (detail.get("id"), last.get("id"))
        )  # OpenRouter says it last
        and last.get("type") != ENCRYPTED
    )


def reasoning_items(details: Iterable[Detail], ids: Iterator[str]) -> list[Item]:
    """For a client that shows what can be read and hands the rest back unread. `ids` are for those without one."""
    groups: list[list[Detail]] = []
    for detail in details:
        if groups and goes_into(groups[-1][-1], detail):
            groups[-1].append(detail)
        elif detail.get("type"):
            groups.append([detail])
    return [reasoning_item(group, ids) for group in groups]


def reasoning_item(group: Sequence[Detail], ids: Iterator[str], *, id: str = "") -> Item:
    """One item, with this `id` if it has one already. What its texts do not say goes into `encrypted_content`: as the
    provider gave it, or carried."""
    id = id or next((own for detail in group if (own := _string(detail.get("id")))), "") or next(ids)
    made: Item = {"id": id, "type": "reasoning", "summary": []}
    for detail in group:
        key = TEXT_KEY.get(_string(detail.get("type")))
        if key == "summary":
            made["summary"].append({"type": "summary_text", "text": _string(detail.get(key))})
        elif key == "text" and (detail.get("text") or len(group) == 1):
            made.setdefault("content", []).append({"type": "reasoning_text", "text": _string(detail.get(key))})
    sealed = _sealed(group[-1])
    return made | ({"encrypted_content": sealed} if sealed is not None else {})


def _sealed(detail: Detail) -> str | None:
    key = TEXT_KEY.get(_string(detail.get("type")))
    if detail.get("format") == RESPONSES_FORMAT:
        return None if key is not None else _string(detail.get("data"))
    rest = {name: value for name, value in detail.items() if value is not None and name not in (key, "index")}
    return None if key is not None and rest.keys() == {"type"} else carried(rest)


def takes_back(detail: Detail) -> bool:
    """Whether a provider of this dialect reads it: it has given it itself."""
    return detail.get("format") == RESPONSES_FORMAT


def details_of(item: Mapping[str, Any], first_index: int) -> list[dict[str, Any]]:
    """Of a provider's reasoning item, which is not asked what its `encrypted_content` holds; none where it says
    nothing."""
    id, sealed = _string(item.get("id")), _string(item.get("encrypted_content"))
    more = {**({"id": id} if id else {}), "format": RESPONSES_FORMAT}
    texts = [(kind, text) for kind, text in _texts(item) if text]
    details: list[dict[str, Any]] = [
        {"type": kind, TEXT_KEY[kind]: text, **more, "index": first_index + at} for at, (kind, text) in enumerate(texts)
    ]
    if sealed:
        details.append({"type": ENCRYPTED, "data": sealed, **more, "index": first_index + len(details)})
    return details


def details_handed_back(item: Mapping[str, Any], first_index: int) -> list[dict[str, Any]]:
    """Of an item that a client got from us or from a provider of this dialect."""
    rest = _restored(_string(item.get("encrypted_content")))
    if rest is None:
        return details_of(item, first_index)
    key = TEXT_KEY.get(_string(rest.get("type")))
    said = {} if key is None else {key: "".join([text for _, text in _texts(item)])}
    return [{**rest, **said, "index": first_index}]


def _texts(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The type of their detail, and the text."""
    return [
        (kind, _string(part.get("text")))
        for key, kind in (("summary", "reasoning.summary"), ("content", "reasoning.text"))
        for part in item.get(key) or ()
        if isinstance(part, dict)
    ]


def _restored(sealed: str) -> dict[str, Any] | None:
    """What another provider's detail says beside its text, where it was carried."""
    if not sealed.startswith(CARRIED):
        return None
    try:
        return _DETAIL.decode(sealed.removeprefix(CARRIED))
    except (msgspec.DecodeError, RecursionError):
        return None


# --- citations ------------------------------------------------------------------------------------------------------


def flat_annotation(annotation: Mapping[str, Any], *, before: int = 0) -> dict[str, Any] | None:
    """A chat's, as output_text has it; `before` characters of the answer stand in other texts. None: no place on the
    web."""
    place = annotation.get("url_citation")
    if annotation.get("type") != "url_citation" or not isinstance(place, dict):
        return None
    return {"type": "url_citation", **_moved(place, -before)}


def nested_annotation(annotation: Mapping[str, Any], *, before: int) -> dict[str, Any] | None:
    if annotation.get("type") != "url_citation":
        return None
    place = {key: value for key, value in annotation.items() if key != "type"}
    return {"type": "url_citation", "url_citation": _moved(place, before)}


def _moved(place: Mapping[str, Any], by: int) -> dict[str, Any]:
    ends = {key: max(place[key] + by, 0) for key in ("start_index", "end_index") if type(place.get(key)) is int}
    return {**place, **ends}


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
