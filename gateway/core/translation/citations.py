"""Where an answer has something from: citations of Anthropic's text blocks, annotations of a chat's message.

Only places on the web can be said in both; pages and passages of the caller's own documents are Anthropic's alone.
"""

from collections.abc import Mapping
from typing import Any, Final

WEB: Final = "web_search_result_location"
_URL_CITATION: Final = "url_citation"


def annotation(citation: Mapping[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """[start, end) are the characters of the answer that it stands for. None for what is no place on the web."""
    if citation.get("type") != WEB:
        return None
    place = {
        "start_index": start,
        "end_index": end,
        "url": citation.get("url") or "",
        "title": citation.get("title") or "",
        "content": citation.get("cited_text") or "",
    }
    if citation.get("encrypted_index"):
        place["encrypted_index"] = citation["encrypted_index"]
    return {"type": _URL_CITATION, _URL_CITATION: place}


def citation(annotation: Mapping[str, Any]) -> dict[str, Any] | None:
    """None for what is no place on the web."""
    place = annotation.get(_URL_CITATION)
    if annotation.get("type") != _URL_CITATION or not isinstance(place, Mapping):
        return None
    return {
        "type": WEB,
        "url": place.get("url") or "",
        "title": place.get("title") or None,
        "cited_text": place.get("content") or "",
        "encrypted_index": place.get("encrypted_index") or "",
    }
