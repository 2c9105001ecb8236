"""Images and documents: data: URIs and files on the chat side, sources on the messages side.

Sources: OpenAI's reference of content parts, OpenRouter's page on PDF inputs (a file may be named by its URL),
Mistral's on documents, Anthropic's on vision, PDF support and citations (documents of plain text).
"""

import base64
import binascii
import re
from typing import Any, Final

from gateway.core.translation.fields import Fields

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""What Anthropic reads."""
PDF: Final = "application/pdf"
PLAIN: Final = "text/plain"
UNTITLED_PDF: Final = "document.pdf"
UNTITLED_TEXT: Final = "document.txt"
"""A file has a name on the chat side; a document need not have a title."""

_UNTITLED: Final = (UNTITLED_PDF, UNTITLED_TEXT)
_DATA_URI: Final = re.compile(r"data:([^,;]+)(?:;[^,;]*)*;base64,")
_PLACES: Final = ("https://", "http://")
_AUTO_DETAIL: Final = {"detail": (b'"auto"',)}
_NO_CITATIONS: Final = {"citations": (b'{"enabled":false}', b'{"enabled": false}')}

Block = dict[str, Any]


# --- chat → messages ------------------------------------------------------------------------------------------------


def image_block(part: Fields) -> Block | None:
    """Of `"image_url": {"url": …}` or `"image_url": …`. None where it was lost."""
    value = part.take_text_or_object("image_url")
    if not isinstance(value, Fields):
        return _block(part, "image_url", part.required("image_url", value), "image")
    value.ignore_if(_AUTO_DETAIL)
    block = _block(value, "url", value.required("url", value.take_text("url")), "image")
    value.close()
    return block


def document_block(part: Fields) -> Block | None:
    """Of Mistral's `"document_url": …`. None where it was lost."""
    title = part.take_text("document_name")
    return _titled(_block(part, "document_url", part.required("document_url", part.take_text("document_url"))), title)


def file_block(part: Fields) -> Block | None:
    """Of `"file": {"file_data": …, "filename": …}`. None where it was lost: a file id is another provider's."""
    file = part.required("file", part.take_object("file"))
    title = file.take_text("filename")
    data = file.take_text("file_data")
    block = _block(file, "file_data", data) if data is not None else None
    file.close()
    return _titled(block, title)


def _block(holder: Fields, key: str, uri: str, kind_of_url: str = "document") -> Block | None:
    if uri.startswith(_PLACES):
        return {"type": kind_of_url, "source": {"type": "url", "url": uri}}
    match = _DATA_URI.match(uri)
    media_type = match[1].lower() if match is not None else ""
    data = uri[match.end() :] if match is not None else ""
    if media_type in IMAGE_TYPES:
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type == PDF:
        return {"type": "document", "source": {"type": "base64", "media_type": PDF, "data": data}}
    if media_type == PLAIN and (text := _plain_text(data)):
        return {"type": "document", "source": {"type": "text", "media_type": PLAIN, "data": text}}
    holder.lose(key, value=media_type or uri[:16], why="is nothing that the provider of this model reads")
    return None


def _plain_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _titled(block: Block | None, title: str | None) -> Block | None:
    if block is not None and title and title not in _UNTITLED and block["type"] == "document":
        block["title"] = title
    return block


# --- messages → chat ------------------------------------------------------------------------------------------------


def image_part(block: Fields) -> Block | None:
    """None where it was lost: a file id is another provider's."""
    source = block.required("source", block.take_object("source"))
    kind = source.take_text("type") or ""
    url = None
    if kind == "base64":
        media_type = source.required("media_type", source.take_text("media_type"))
        url = f"data:{media_type};base64,{source.required('data', source.take_text('data'))}"
    elif kind == "url":
        url = source.required("url", source.take_text("url"))
    else:
        source.lose_all(kind)
    source.close()
    return None if url is None else {"type": "image_url", "image_url": {"url": url}}


def file_part(block: Fields, *, urls: bool) -> Block | None:
    """Of a document of one piece. `urls`: the other side reads files that are named by their URL. None where it was
    lost."""
    source = block.required("source", block.take_object("source"))
    title = block.take_text("title")
    block.ignore_if(_NO_CITATIONS)
    kind = source.take_text("type") or ""
    data = None
    name = title or UNTITLED_PDF
    if kind == "base64":
        media_type = source.take_text("media_type") or PDF
        data = f"data:{media_type};base64,{source.required('data', source.take_text('data'))}"
    elif kind == "text":
        source.ignore("media_type")
        text = source.required("data", source.take_text("data"))
        data = f"data:{PLAIN};base64,{base64.b64encode(text.encode()).decode()}"
        name = title or UNTITLED_TEXT
    elif kind == "url" and urls:
        data = source.required("url", source.take_text("url"))
    else:
        source.lose_all(kind)
    source.close()
    return None if data is None else {"type": "file", "file": {"filename": name, "file_data": data}}
