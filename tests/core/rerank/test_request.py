"""The units that a search can be billed as, and the tokens: never less than a provider's own rules come to."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.rerank.request import CHUNK_TOKENS, DOCUMENT_TOKENS_DEFAULT, DOCUMENTS_MAX, read_rerank_request
from gateway.core.unstreamed.request import UnstreamedRequest


def read(documents: Any, query: Any = "q", **fields: Any) -> UnstreamedRequest:
    body = {"model": "m", "query": query, "documents": documents, **fields}
    return read_rerank_request(json.dumps(body).encode())


def refused(documents: Any, query: Any = "q", **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(documents, query, **fields)
    return caught.value


@pytest.mark.parametrize(("documents", "units"), [(1, 1), (100, 1), (101, 2), (1_000, 10), (DOCUMENTS_MAX, 21)])
def test_a_hundred_short_documents_are_a_unit(documents: int, units: int) -> None:
    request = read(["short"] * documents)
    assert (request.n, request.message_count) == (units, documents)


def test_long_documents_are_several() -> None:
    assert read(["x" * 490] * 100).n == 1
    assert read(["x" * 990] * 100).n == 2
    assert read(["x" * 990] * 100, "q" * 1_000).n == 4, "the query takes half of each chunk at most"


def test_no_more_of_a_document_counts_than_is_read() -> None:
    assert read(["x" * 1_000_000] * 100).n == -(-DOCUMENT_TOKENS_DEFAULT // (CHUNK_TOKENS - 3))
    assert read(["x" * 1_000_000] * 100, max_tokens_per_doc=400).n == 1
    assert read(["x" * 100_000] * 100, max_tokens_per_doc=32_000).n == -(-32_000 // (CHUNK_TOKENS - 3))


def test_more_units_than_a_call_may_have_are_refused() -> None:
    error = refused(["x" * 100_000] * 700, max_tokens_per_doc=100_000)
    assert error.param == "documents"
    assert "Nothing was reserved" in str(error)


sizes = st.lists(st.integers(0, 3_000), min_size=1, max_size=150)


@given(sizes, st.integers(0, 2_000), st.none() | st.integers(1, 8_000))
def test_no_way_of_counting_comes_to_more(sizes: list[int], query: int, read_most: int | None) -> None:
    """A byte is a token at most; then Cohere's units, Voyage's and Jina's tokens, as their documents say."""
    fields = {} if read_most is None else {"max_tokens_per_doc": read_most}
    request = read(["x" * size for size in sizes], "q" * query, **fields)
    read_of_each = [min(size, read_most or DOCUMENT_TOKENS_DEFAULT) for size in sizes]
    room = CHUNK_TOKENS - min(query, CHUNK_TOKENS // 2)
    chunks = sum(max(1, -(-tokens // room)) for tokens in read_of_each)
    assert request.n >= -(-chunks // 100)
    assert request.prompt_bytes >= query * len(sizes) + sum(sizes)
    assert request.prompts >= len(sizes)


def test_documents_may_be_objects_with_a_text() -> None:
    assert read([{"text": "a", "title": "b"}, {"text": "c"}]).message_count == 2
    for key in ("image", "image_url"):
        assert refused([{"text": "a"}, {key: "https://x"}]).reason == "content_by_reference"


@pytest.mark.parametrize(
    "documents", [None, [], "a", 5, [5], ["a", {"text": "b"}], [None], {}, ["a"] * (DOCUMENTS_MAX + 1)], ids=str
)
def test_documents_are_texts_or_objects(documents: Any) -> None:
    assert refused(documents).param == "documents"


@pytest.mark.parametrize("query", [None, 5, [], {"text": "a"}])
def test_a_query_is_a_text(query: Any) -> None:
    assert refused(["a"], query).param == "query"


@pytest.mark.parametrize("most", [0, -1, 1.5, "5", True, 10**12])
def test_what_is_read_of_each_is_a_number_of_tokens(most: Any) -> None:
    assert refused(["a"], max_tokens_per_doc=most).param == "max_tokens_per_doc"
    assert refused(["a"], maxTokensPerDoc=5).param == "max_tokens_per_doc"
