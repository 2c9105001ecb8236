"""The facts of requests in Gemini's dialects. What of them is refused is in tests/edge/inference/test_gemini.py."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.gemini.address import model_in, upstream_path
from gateway.core.gemini.embed import read_embed_request
from gateway.core.gemini.request import GenerateRequest, path_of, read_count_request, read_generate_request
from gateway.core.gemini.spelling import snake_case
from gateway.core.gemini.splicing import splice_embed, splice_generate
from gateway.upstream.registry import Upstream

WHOLE = "/v1beta/models/m:generateContent"
STREAM = "/v1beta/models/m:streamGenerateContent?key=k&alt=sse"
ARRAY = "/v1beta/models/m:streamGenerateContent"
BATCH = "/v1beta/models/m:batchEmbedContents"
USER = {"role": "user", "parts": [{"text": "hi"}]}
UPSTREAM = Upstream(name="main", provider="gemini", base_url="http://127.0.0.1:9/v1beta", api_key="")


def encoded(**fields: Any) -> bytes:
    return msgspec.json.encode({"contents": [USER], **fields})


def read(**fields: Any) -> GenerateRequest:
    return read_generate_request(WHOLE, encoded(**fields))


def read_part(**part: Any) -> GenerateRequest:
    return read(contents=[{"parts": [part]}])


def in_snake_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {snake_case(key): in_snake_case(each) for key, each in value.items()}
    return [in_snake_case(each) for each in value] if isinstance(value, list) else value


def test_the_facts_of_a_plain_request() -> None:
    body = encoded(systemInstruction={"parts": [{"text": "be brief"}]}, generationConfig={"maxOutputTokens": 9})
    request = read_generate_request(STREAM, body)
    assert (request.model, request.stream, request.output_limit, request.n) == ("m", True, 9, 1)
    assert (request.service_tier, request.message_count, request.prompt_bytes) == (None, 2, len(body))
    others = ("images", "by_reference", "tools", "hosted_tools", "audio", "other_output", "cache_writes_1h")
    assert not any(getattr(request, name) for name in others)
    assert path_of(request, "models/n") == "/models/n:streamGenerateContent?alt=sse"
    array = read_generate_request(ARRAY, body)
    assert (array.stream, path_of(array, "n")) == (False, "/models/n:streamGenerateContent")


def test_both_spellings_of_every_key_say_the_same() -> None:
    fields: dict[str, Any] = {
        "contents": [
            USER,
            {
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": "A" * 100}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "A"}},
                    {"fileData": {"fileUri": "https://a.example/b.pdf"}},
                    {"functionResponse": {"parts": [{"inlineData": {"mimeType": "image/gif", "data": "A"}}]}},
                ]
            },
        ],
        "systemInstruction": USER,
        "tools": [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}],
        "serviceTier": "SERVICE_TIER_PRIORITY",
        "generationConfig": {"maxOutputTokens": 7, "candidateCount": 2, "responseModalities": ["TEXT", "AUDIO"]},
    }
    camel, snake = read(**fields), read(**in_snake_case(fields))
    for name in GenerateRequest.__struct_fields__:
        if name not in ("body", "prompt_bytes"):
            assert getattr(camel, name) == getattr(snake, name), name
    assert (camel.images, camel.audio, camel.by_reference, camel.other_output) == (2, True, True, True)
    assert (camel.tools, camel.hosted_tools, camel.service_tier) == (True, True, "priority")
    assert (camel.output_limit, camel.n) == (7, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"contents": USER},
        {"contents": [{"parts": {"text": "hi"}}]},
        {"tools": {"functionDeclarations": [{"name": "f"}]}},
    ],
)
def test_one_may_stand_where_an_array_is_meant(fields: dict[str, Any]) -> None:
    request = read(**fields)
    assert request.message_count == 1
    assert request.tools == ("tools" in fields)


def test_white_space_and_inline_images_are_not_in_the_bytes_of_the_prompt() -> None:
    spaced = msgspec.json.format(encoded(), indent=4)
    assert read_generate_request(WHOLE, spaced).prompt_bytes == read().prompt_bytes
    picture, empty = ({"mimeType": "Image/PNG", "data": data} for data in ("A" * 1000, ""))
    assert read_part(inlineData=picture).prompt_bytes == read_part(inlineData=empty).prompt_bytes
    assert read_part(inlineData=picture).images == 1


@pytest.mark.parametrize(
    "part",
    [
        {"text": "hi", "thought": True, "thoughtSignature": "s"},
        {"functionCall": {"name": "f", "args": {"fileUri": "files/1"}}},
        {"functionResponse": {"name": "f", "response": {"inlineData": 5}}},
        {"executableCode": {"code": "1"}},
        {"codeExecutionResult": {"output": "1"}},
        {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
        {"inlineData": None, "fileData": None},
    ],
)
def test_parts_that_are_all_there(part: dict[str, Any]) -> None:
    assert not read_part(**part).by_reference


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "application/pdf", "data": "A"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "A"}},
        {"inlineData": {"data": "A"}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {"text": "hi", "videoMetadata": {}},
        {"whatever": "is new"},
    ],
)
def test_parts_whose_bytes_bound_nothing(part: dict[str, Any]) -> None:
    assert read_part(**part).by_reference


@pytest.mark.parametrize(
    "name", ["googleSearch", "codeExecution", "url_context", "googleMaps", "computerUse", "newOne"]
)
def test_what_google_runs_itself_is_hosted(name: str) -> None:
    request = read(tools=[{"functionDeclarations": [], name: {}}])
    assert (request.tools, request.hosted_tools) == (True, True)
    assert not read(tools=[{"functionDeclarations": [], name: None}]).hosted_tools


@pytest.mark.parametrize("config", [{"speechConfig": {}}, {"responseModalities": ["image"]}, {"imageConfig": {}}])
def test_more_than_text_is_asked_for(config: dict[str, Any]) -> None:
    assert read(generationConfig=config).other_output
    assert not read(generationConfig={"responseModalities": ["text"]}).other_output


def test_a_count_may_hold_a_whole_request() -> None:
    target = "/v1beta/models/m:countTokens"
    whole = {"model": "models/m", "contents": [USER], "tools": [{"googleSearch": {}}]}
    body = msgspec.json.encode({"generateContentRequest": whole})
    request = read_count_request(target, body)
    assert path_of(request, "n") == "/models/n:countTokens"
    renamed = {"generateContentRequest": {**whole, "model": "models/n"}}
    assert msgspec.json.decode(splice_generate(request, "n", UPSTREAM, None)[0]) == renamed


# --- the address ------------------------------------------------------------------------------------------------------


@given(st.text(max_size=40) | st.from_regex(r"[a-z./:%\\?#]{1,30}", fullmatch=True))
def test_an_upstream_address_has_one_segment_whatever_the_name(model: str) -> None:
    try:
        made = upstream_path(model, "generateContent")
    except InvalidRequest:
        return
    assert made.removeprefix("/models/").removesuffix(":generateContent") == model.removeprefix("models/")
    assert not set(made.removeprefix("/models/")) & set("/%?#\\ ")
    assert ".." not in made.split("/")


@pytest.mark.parametrize("model", ["m", "gemini-2.5-flash", "openrouter/google/x", "llama3:8b", "a@b", "M_1~x+y"])
def test_names_that_a_model_may_have_here(model: str) -> None:
    assert model_in(f"/v1beta/models/{model}:generateContent?key=k") == model


@given(st.text(max_size=20))
def test_a_name_that_is_taken_holds_nothing_that_an_address_gives_a_meaning(model: str) -> None:
    try:
        assert model_in(f"/v1beta/models/{model}:generateContent") == model
    except InvalidRequest:
        return
    assert not set(model) & set("%?#\\ \r\n\0")
    assert not {"", ".", ".."} & set(model.split("/"))


# --- splicing ---------------------------------------------------------------------------------------------------------

SPELLINGS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 2}, {"separators": (" ,\t", "\r\n: "), "ensure_ascii": False}]
)
SPELLED = st.sampled_from(["generationConfig", "generation_config"])
LIMITS = st.sampled_from(["maxOutputTokens", "max_output_tokens"])


@given(
    config=st.none() | st.dictionaries(st.sampled_from(["temperature", "topK", "stopSequences"]), st.just([1])),
    limit=st.none() | st.integers(1, 10_000),
    send=st.none() | st.integers(1, 10_000),
    spelled=SPELLED,
    limit_spelled=LIMITS,
    model=st.sampled_from(["m", "n"]),
    named=st.booleans(),
    data=st.data(),
)
def test_a_spliced_body_differs_in_nothing_but_what_was_to_change(
    config: dict[str, Any] | None,
    limit: int | None,
    send: int | None,
    spelled: str,
    limit_spelled: str,
    model: str,
    named: bool,
    data: st.DataObject,
) -> None:
    fields: dict[str, Any] = {"contents": [USER]}
    if named:
        fields["model"] = "models/m"
    if config is not None or limit is not None:
        fields[spelled] = {**(config or {}), **({} if limit is None else {limit_spelled: limit})}
    body = json.dumps(fields, **data.draw(SPELLINGS)).encode()
    request = read_generate_request(WHOLE, body)
    assert request.output_limit == limit
    spliced, asks_usage = splice_generate(request, model, UPSTREAM, send)
    assert not asks_usage
    again = read_generate_request(WHOLE.replace("/m:", f"/{model}:"), spliced)
    wanted = [each for each in (limit, send) if each is not None]
    assert again.output_limit == min(wanted, default=None)
    if again.output_limit == limit and model == "m":
        assert spliced is body
    seen = msgspec.json.decode(spliced)
    assert seen.pop("model", None) == (f"models/{model}" if named else None)
    for each in (seen, fields):
        settings = each.pop("generationConfig", None) or each.pop("generation_config", None) or {}
        assert {key: settings[key] for key in settings if "ax" not in key} == (config or {})
    fields.pop("model", None)
    assert seen == fields


@given(count=st.integers(1, 5), single=st.booleans(), data=st.data())
def test_every_request_of_a_batch_is_renamed(count: int, single: bool, data: st.DataObject) -> None:
    one = {"model": "models/m", "content": {"parts": [{"text": '"model": "m", [{'}]}, "taskType": "CLUSTERING"}
    requests: Any = one if single else [one] * count
    body = json.dumps({"requests": requests}, **data.draw(SPELLINGS)).encode()
    request = read_embed_request(BATCH, body)
    assert request.message_count == (1 if single else count)
    renamed = {**one, "model": "models/n"}
    seen = msgspec.json.decode(splice_embed(request, "models/n", UPSTREAM, None)[0])
    assert seen == {"requests": renamed if single else [renamed] * count}
