"""What the requests have in common whose answers come in one piece: ambiguity, other models, the one change."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cohere_embed.dialect import COHERE_EMBED
from gateway.core.dialect import Dialect
from gateway.core.errors import InvalidRequest
from gateway.core.openai_embeddings.dialect import OPENAI_EMBEDDINGS
from gateway.core.openai_moderations.dialect import OPENAI_MODERATIONS
from gateway.core.rerank.dialect import RERANK
from gateway.core.unstreamed.request import UnstreamedRequest
from gateway.upstream.registry import Upstream
from tests.core import json_text
from tests.core.slow_json import members

HABITS: Final = Upstream(name="u", provider="p", base_url="http://127.0.0.1:9", api_key="")
LEAST: Final[dict[str, tuple[Dialect, dict[str, Any]]]] = {
    "openai-embeddings": (OPENAI_EMBEDDINGS, {"model": "m", "input": "hi"}),
    "cohere-embed": (COHERE_EMBED, {"model": "m", "texts": ["hi"]}),
    "openai-moderations": (OPENAI_MODERATIONS, {"model": "m", "input": "hi"}),
    "rerank": (RERANK, {"model": "m", "query": "q", "documents": ["hi"]}),
}
each = pytest.mark.parametrize(("dialect", "least"), LEAST.values(), ids=LEAST)


def read(dialect: Dialect, fields: dict[str, Any]) -> UnstreamedRequest:
    request = dialect.read_request(json.dumps(fields).encode())
    assert isinstance(request, UnstreamedRequest)
    return request


def refused(dialect: Dialect, body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        dialect.read_request(body)
    return caught.value


@each
def test_the_least_request_holds_its_prompt_and_no_output(dialect: Dialect, least: dict[str, Any]) -> None:
    request = read(dialect, least)
    assert (request.model, request.stream, request.n, request.output_limit) == ("m", False, 1, 0)
    assert (request.message_count, request.prompts, request.token_ids) == (1, 1, 0)
    assert request.prompt_bytes >= len("hi")
    assert not any((request.by_reference, request.audio, request.other_output, request.tools, request.hosted_tools))


@each
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"Model": "dear"}, "model"),
        ({"stream": True}, "stream"),
        ({"stream": "yes"}, "stream"),
        ({"models": ["a"]}, "models"),
        ({"fallbacks": ["a"]}, "fallbacks"),
        ({"service_tier": 5}, "service_tier"),
        ({"serviceTier": "priority"}, "service_tier"),
    ],
    ids=str,
)
def test_what_decides_a_price_is_read_in_one_way(
    dialect: Dialect, least: dict[str, Any], fields: dict[str, Any], param: str
) -> None:
    assert refused(dialect, json.dumps({**least, **fields}).encode()).param == param


@each
def test_duplicates_deep_nesting_and_bytes_that_are_no_text_are_refused(
    dialect: Dialect, least: dict[str, Any]
) -> None:
    body = json.dumps(least).encode()
    assert refused(dialect, body[:-1] + b',"model":"other"}').param == "model"
    assert refused(dialect, body[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}").code == "invalid_request"
    assert refused(dialect, body.replace(b"hi", b"\xff")).code == "invalid_request"
    for odd in (b"", b"[]", b"{}", b"null", b"5"):
        assert refused(dialect, odd).code == "invalid_request"


@each
def test_the_model_is_spliced_and_every_other_byte_stays(dialect: Dialect, least: dict[str, Any]) -> None:
    for spelling in ({}, {"indent": 2}, {"separators": (",", ":")}):
        body = json.dumps({**least, "dimensions": 5, "note": "é"}, **spelling).encode()
        request = dialect.read_request(body)
        assert dialect.splice(request, "m", HABITS, None) == (body, False)
        spliced, asks_usage = dialect.splice(request, "an/other", HABITS, None)
        (model,) = (member for member in members(body) if member.key == "model")
        assert spliced == body[: model.start] + b'"an/other"' + body[model.end :]
        assert not asks_usage


@each
@given(data=st.data())
def test_whatever_comes_is_read_or_refused(dialect: Dialect, least: dict[str, Any], data: st.DataObject) -> None:
    fields = data.draw(
        st.dictionaries(st.sampled_from([*least, "stream", "max_tokens_per_doc", "x"]), json_text.values)
    )
    told = {name: json.dumps(value) for name, value in least.items()} | fields
    body = ",".join([f'"{name}":{value}' for name, value in told.items()])
    try:
        request = dialect.read_request(f"{{{body}}}".encode())
    except InvalidRequest:
        return
    assert request.output_limit == 0
    assert request.n >= 1


# --- moderations ------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_named_is_the_default_and_is_written_into_the_body() -> None:
    for body in (b'{"input":"hi"}', b'{ "model":null, "input":"hi"}'):
        request = OPENAI_MODERATIONS.read_request(body)
        assert request.model == "omni-moderation-latest"
        spliced, _ = OPENAI_MODERATIONS.splice(request, request.model, HABITS, None)
        assert json.loads(spliced) == {"model": "omni-moderation-latest", "input": "hi"}


def test_images_are_counted_and_addresses_bound_nothing() -> None:
    def moderate(*parts: Any) -> UnstreamedRequest:
        return read(OPENAI_MODERATIONS, {"input": list(parts)})

    text = {"type": "text", "text": "hi"}
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000}}
    request = moderate(text, png)
    assert (request.images, request.by_reference, request.message_count) == (1, False, 2)
    assert request.prompt_bytes < 200
    assert moderate(text, {"type": "image_url", "image_url": {"url": "https://x/cat.png"}}).by_reference
    odd: list[Any] = [
        {"type": "text"},
        {"text": 5, "type": "text"},
        {"type": "file", "file_id": "f"},
        {"type": "image_url", "image_url": 5},
    ]
    for part in odd:
        assert refused(OPENAI_MODERATIONS, json.dumps({"input": [text, part]}).encode()).param
    assert refused(OPENAI_MODERATIONS, b'{"input":[1,2]}').param == "input"


# --- Cohere -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{"texts": "hi"}, {"texts": []}, {"texts": [1]}, {"texts": None}, {"texts": ["x"] * 2_049}]
)
def test_texts_are_an_array_of_texts(fields: dict[str, Any]) -> None:
    assert refused(COHERE_EMBED, json.dumps({"model": "m", **fields}).encode()).param == "texts"


@pytest.mark.parametrize("name", ["images", "inputs"])
def test_images_have_a_price_of_their_own_and_are_refused(name: str) -> None:
    error = refused(COHERE_EMBED, json.dumps({"model": "m", "texts": ["a"], name: ["data:image/png;base64,"]}).encode())
    assert (error.param, error.reason) == (name, "image_not_priced")
