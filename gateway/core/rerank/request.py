"""The facts of a request to rank documents: what bounds its tokens, and the units that a search can be billed as.

Cohere bills units: a query with up to 100 documents, where a document of more than 500 tokens, the query's counted in,
is several (cohere.com/pricing). Voyage and Jina bill tokens, and the query's with each document
(docs.voyageai.com/docs/faq).
"""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, RawObject, read_objects
from gateway.core.pricing import MESSAGES_MAX
from gateway.core.request_body import NULL, is_set, read_body
from gateway.core.text_inputs import INPUTS_MAX, text_bytes
from gateway.core.unstreamed.request import UnstreamedRequest, read_common
from gateway.core.usage import TOKENS_MAX

DOCUMENTS_MAX: Final = INPUTS_MAX
DOCUMENTS_OF_A_UNIT: Final = 100
CHUNK_TOKENS: Final = 500
"""Of a document that counts as one, the query's included."""
QUERY_TOKENS_MAX: Final = CHUNK_TOKENS // 2
"""So much of each chunk a query can take; the document has the rest."""
DOCUMENT_TOKENS_DEFAULT: Final = 4_096
"""What Cohere reads of a document where `max_tokens_per_doc` does not say more."""
TEMPLATE_TOKENS: Final = 96
"""What may stand around each document: a model that was made of a chat model has instructions of its own."""

_DECIDING_KEYS: Final = frozenset({"query", "documents", "max_tokens_per_doc"})
_DOCUMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MAX_TOKENS: Final["msgspec.json.Decoder[int]"] = msgspec.json.Decoder(
    Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)]
)
_MORE_THAN_TEXT: Final = frozenset({"image", "image_url", "images", "inputs", "content"})


def read_rerank_request(body: bytes) -> UnstreamedRequest:
    """Raises InvalidRequest, whose `param` names the field."""
    try:
        _, values = read_body(body)
        common = read_common(values, _DECIDING_KEYS)
        query_bytes = text_bytes(values.get("query", NULL), "query")
        sizes = _document_sizes(values.get("documents", NULL))
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    read_most = _tokens_read_of_each(values)
    room = CHUNK_TOKENS - min(query_bytes, QUERY_TOKENS_MAX)
    chunks = sum(-(-min(size, read_most) // room) for size in sizes)
    units = -(-chunks // DOCUMENTS_OF_A_UNIT)
    if units > MESSAGES_MAX:
        raise InvalidRequest(
            f"These documents could be billed as {units} searches, and a call may be at most {MESSAGES_MAX}: "
            "send fewer, shorter ones or a smaller `max_tokens_per_doc`. Nothing was reserved or sent.",
            param="documents",
        )
    # A long document may be read in pieces, and the query with each of them.
    pieces = sum(-(-size // room) for size in sizes)
    return UnstreamedRequest(
        body=body,
        model=common.model,
        n=units,
        service_tier=common.service_tier,
        message_count=len(sizes),
        prompt_bytes=sum(sizes) + pieces * query_bytes + len(sizes) * TEMPLATE_TOKENS,
        prompts=pieces,
    )


def _document_sizes(value: msgspec.Raw) -> list[int]:
    """Each document's bytes in JSON, which is more than its tokens."""
    try:
        documents = _DOCUMENTS.decode(value)
    except msgspec.DecodeError:
        documents = []
    if not 0 < len(documents) <= DOCUMENTS_MAX:
        raise InvalidRequest(f"`documents` must be an array of 1 to {DOCUMENTS_MAX} documents.", param="documents")
    firsts = {memoryview(document)[0] for document in documents}
    if firsts == {ord("{")}:
        _refuse_more_than_text(value)
    elif firsts != {ord('"')}:
        raise InvalidRequest("`documents` must be texts, or objects with a `text`.", param="documents")
    return [len(memoryview(document)) for document in documents]


def _refuse_more_than_text(array: msgspec.Raw) -> None:
    try:
        documents = read_objects(array)
    except Ambiguous as error:
        raise InvalidRequest(f"In `documents` {error}.", param="documents") from None
    for at, document in enumerate(documents):
        if found := _MORE_THAN_TEXT.intersection(document):
            raise InvalidRequest(
                f"`documents[{at}].{min(found)}`: what is more than text is not metered yet; nothing was reserved or "
                "sent.",
                param="documents",
                code="content_by_reference",
            )


def _tokens_read_of_each(values: RawObject) -> int:
    name = "max_tokens_per_doc"
    if not is_set(values, name):
        return DOCUMENT_TOKENS_DEFAULT
    try:
        most = _MAX_TOKENS.decode(values[name])
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` must be an integer from 1.", param=name) from None
    return most
