"""The facts of a request, and the refusal of every request that another server could read in another way."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.openai_chat.messages import MEDIA_PARTS_MAX
from gateway.core.openai_chat.request import ChatRequest, read_chat_request
from tests.core import json_text
from tests.core.slow_json import members

HELLO: Any = [{"role": "user", "content": "Hello"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


def read(**fields: Any) -> ChatRequest:
    return read_chat_request(json.dumps({"model": "gpt-4o", "messages": HELLO} | fields).encode())


def refused(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_chat_request(body)
    return caught.value


def refused_param(**fields: Any) -> str | None:
    return refused(json.dumps({"model": "gpt-4o", "messages": HELLO} | fields).encode()).param


def body_with(member: str) -> bytes:
    return f'{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hi"}}],{member}}}'.encode()


def content(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


# --- what is read ---------------------------------------------------------------------------------------------------


def test_the_least_request_has_the_defaults() -> None:
    request = read()
    assert (request.model, request.stream, request.n, request.output_limit) == ("gpt-4o", False, 1, None)
    assert (request.message_count, request.include_usage, request.service_tier) == (1, False, None)
    assert request.images == 0
    assert not any((request.by_reference, request.tools, request.hosted_tools, request.audio))


def test_the_larger_of_both_limits_counts() -> None:
    request = read(max_tokens=50, max_completion_tokens=70)
    assert (request.output_limit, request.limit_fields) == (70, ("max_completion_tokens", "max_tokens"))
    assert read(max_tokens=50).limit_fields == ("max_tokens",)
    assert read(max_tokens=2**31 - 1).output_limit == 2**31 - 1


def test_null_is_unset() -> None:
    request = read(
        n=None,
        stream=None,
        max_tokens=None,
        stream_options=None,
        tools=None,
        service_tier=None,
        models=None,
        audio=None,
    )
    assert (request.n, request.stream, request.output_limit, request.limit_fields) == (1, False, None, ())
    assert not any((request.tools, request.include_usage))


def test_stream_options_are_read_in_any_spelling() -> None:
    assert read(stream=True, stream_options={"include_usage": True}).include_usage
    assert read(stream=True, stream_options={"include_obfuscation": False, "include_usage": True}).include_usage
    assert not read(stream=True, stream_options={"include_usage": False}).include_usage
    assert not read(stream=True, stream_options={}).include_usage
    assert read_chat_request(body_with('"stream_options":{"include\\u005fusage" : true}')).include_usage


def test_white_space_is_no_part_of_the_prompt() -> None:
    compact = body_with('"n":1')
    spaced = json.dumps(json.loads(compact), indent=4).encode()
    assert read_chat_request(spaced).prompt_bytes == read_chat_request(compact).prompt_bytes == len(compact)


def test_a_key_spelled_with_escapes_is_that_key() -> None:
    assert read_chat_request(b'{"mod\\u0065l":"m","messages":[{"role":"user","content":"x"}]}').model == "m"


def test_tools_of_the_client_are_not_hosted() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": {}}}
    request = read(tools=[function, {"function": {"name": "mistral"}}, {"type": "custom", "custom": {"name": "c"}}])
    assert request.tools
    assert not request.hosted_tools
    assert not read(enable_search=False, web_search_options=None).hosted_tools


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "openrouter:advisor", "parameters": {"model": "dear"}}]},
        {"web_search_options": {}},
        {"plugins": [{"id": "web"}]},
        {"search_parameters": {"mode": "auto"}},
        {"enable_search": True},
    ],
    ids=["tool", "advisor", "option", "plugin", "parameters", "switch"],
)
def test_tools_that_the_provider_runs_are_hosted(fields: dict[str, Any]) -> None:
    assert read(**fields).hosted_tools


def test_inline_images_are_counted_and_their_bytes_are_not_text() -> None:
    part = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}
    request = read(messages=content({"type": "text", "text": "What is this?"}, part, {"image_url": PNG}))
    assert (request.images, request.by_reference) == (2, False)
    assert request.prompt_bytes < len(request.body) - 2 * len(PNG) + 1


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": "http://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": PNG, "uri": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERi0="},
        {"type": "text", "text": "see", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "something_new", "something_new": 1},
    ],
    ids=["url", "plain url", "two urls", "no url", "pdf as image", "pdf", "document", "disguised", "unknown"],
)
def test_what_the_body_only_names_or_packs_is_by_reference(part: dict[str, Any]) -> None:
    assert read(messages=[*HELLO, *content(part)]).by_reference


def test_text_parts_are_all_there() -> None:
    parts = [
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        {"type": "refusal", "refusal": "no"},
    ]
    assert not read(messages=content(*parts)).by_reference
    assert not read(messages=[{"role": "assistant", "content": None}, {"role": "user"}]).by_reference


def test_text_that_looks_like_a_content_array_is_text() -> None:
    request = read(messages=[{"role": "user", "content": '","content":[{"image_url":"https://x"}],"content":{'}])
    assert not request.by_reference


def test_audio_in_and_out_is_noticed() -> None:
    assert read(messages=content({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})).audio
    assert read(messages=content({"type": "input_audio", "input_audio": {"data": "UklGRg=="}, "note": None})).audio
    assert read(modalities=["text", "audio"], audio={"voice": "alloy", "format": "mp3"}).audio


@pytest.mark.parametrize("wanted", [["image"], ["text", "image"], ["Text"]])
def test_output_other_than_text_is_noticed(wanted: list[str]) -> None:
    assert read(modalities=wanted).other_output
    assert not any(read(**fields).other_output for fields in ({}, {"modalities": ["text"]}, {"modalities": None}))


def test_service_tier_is_passed_on() -> None:
    assert read(service_tier="priority").service_tier == "priority"


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"model":"m","messages":[{}]} x',
        b'{"model":"m","messages":[{}]}\x00',
        b'\xef\xbb\xbf{"model":"m","messages":[{}]}',
        b'{"model":"m","messages":[{}],}',
        b"{'model':'m'}",
        body_with('"temperature":NaN'),
        body_with('"temperature":Infinity'),
        body_with('"temperature":-'),
        body_with('"temperature":01'),
        body_with('"user":"a\nb"'),
        body_with('"user":"\x00"'),
        body_with('"user":"\\x"'),
        body_with('"user":"') + b"\xff" + b'"}',
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"\xc0\xaf"}]}',
        b'{"model":"m","messages":[{"\xff":1}]}',
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_exactly_one_json_object_in_utf8_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize("opened", ["[", '{"a":'])
@pytest.mark.parametrize("where", ['"x":', '"tools":', '"messages":', '"stream_options":{"include_usage":'])
def test_bottomless_nesting_is_refused(opened: str, where: str) -> None:
    closed = {"[": "]", '{"a":': "}"}[opened]
    deep = f'{{"model":"m","messages":[{{}}],{where}{opened * 100_000}1{closed * 100_000}}}'
    refused(deep.encode())


@pytest.mark.parametrize(
    "members",
    [
        '"model":"dear"',
        '"mod\\u0065l":"dear"',
        '"\\u006d\\u006f\\u0064\\u0065\\u006c":"dear"',
        '"n":1,"n":2',
        '"n":12,"n":1',
        '"n":1,"n":1',
        '"max_tokens":1,"max_tokens":100000',
        '"max_tokens":100000,"max_tokens":1',
        '"stream":true,"stream":false',
        '"tools":[],"tools":[{"type":"web_search"}]',
        '"messages":[{"role":"user","content":"x"}]',
        '"temperature":1,"temperature":0',
        '"\\u00e9":1,"é":2',
    ],
)
@pytest.mark.parametrize("spaced", [False, True], ids=["compact", "spaced"])
def test_a_key_twice_is_refused(members: str, spaced: bool) -> None:
    body = body_with(members)
    refused(body.replace(b",", b" ,") if spaced else body)


@pytest.mark.parametrize(
    "key",
    [
        "MODEL",
        "Model",
        "N",
        "Stream",
        "\u017ftream",
        "MAX_TOKENS",
        "max_to\u212aens",
        "maxTokens",
        "maxCompletionTokens",
        "Max_Completion_Tokens",
        "streamOptions",
        "Messages",
        "Tools",
        "Service_Tier",
        "serviceTier",
        "Models",
    ],
)
def test_a_variant_spelling_of_a_key_that_decides_the_price_is_refused(key: str) -> None:
    assert refused(body_with(f"{json.dumps(key)}:1")).param is not None
    assert refused(body_with(f"{json.dumps(key, ensure_ascii=False)} : 1")).param is not None


@pytest.mark.parametrize(
    "member",
    [
        '"n":0',
        '"n":129',
        '"n":-1',
        '"n":-0',
        '"n":1.0',
        '"n":1e1',
        '"n":true',
        '"n":"2"',
        '"n":[1]',
        '"n":1e400',
        '"n":' + "9" * 30,
        '"n":' + "9" * 5_000,
        '"max_tokens":0',
        '"max_tokens":2147483648',
        '"max_tokens":10.0',
        '"max_tokens":true',
        '"max_tokens":{}',
        '"max_completion_tokens":-5',
        '"max_completion_tokens":1E9',
        '"stream":1',
        '"stream":"true"',
        '"stream":{}',
        '"stream_options":true',
        '"stream_options":[]',
        '"stream_options":{"include_usage":1}',
        '"stream_options":{"include_usage":"true"}',
        '"stream_options":{"include_usage":true,"include_usage":false}',
        '"stream_options":{"include_usage":false,"include\\u005fusage":true}',
        '"stream_options":{"Include_Usage":true}',
        '"service_tier":5',
        '"tools":{}',
        '"tools":[1]',
        '"tools":[{"type":"function","type":"web_search"}]',
        '"models":["dear"]',
        '"route":"fallback"',
        '"fallbacks":["dear"]',
        '"n_predict":4000',
        '"n_cmpl":2',
        '"use_beam_search":true',
    ],
    ids=lambda member: member[:60],
)
def test_a_value_that_servers_could_read_differently_is_refused_by_name(member: str) -> None:
    name = member[1 : member.index('"', 1)]
    error = refused(body_with(member))
    assert (error.param or "").startswith(name)
    assert name in str(error)


@pytest.mark.parametrize("model", [None, "", 5, ["m"], "m" * 257, "m\u0000", "m\n", "m\u202e", "\ud800"])
def test_a_model_that_is_no_name_is_refused(model: Any) -> None:
    body = json.dumps({"model": model, "messages": HELLO}).encode()
    assert refused(body).param in {"model", None}  # a lone surrogate is no JSON text for us at all


def test_a_missing_model_or_missing_messages_are_named() -> None:
    assert refused(b'{"messages":[{}]}').param == "model"
    assert refused(b'{"model":"m"}').param == "messages"
    assert read(model="m" * 256).model == "m" * 256


@pytest.mark.parametrize("messages", [None, [], {}, "hi", 3, [1], ["hi"], [None], [[{}]], [{}, "hi"]])
def test_messages_that_are_not_a_list_of_objects_are_refused(messages: Any) -> None:
    assert refused_param(messages=messages) == "messages"


@pytest.mark.parametrize(
    "message",
    [
        '{"role":"user","content":[{"type":"image_url","image_url":"https://x"}],"content":"x"}',
        '{"role":"user","content":"x","content":[{"type":"image_url","image_url":"https://x"}]}',
        '{"role":"user","content":"x","cont\\u0065nt":[]}',
        '{"role":"user","content":"x","Content":[]}',
        '{"role":"user","content":{"image_url":"https://x"}}',
        '{"role":"user","content":5}',
        '{"role":"user","content":true}',
        '{"role":"user","content":["x"]}',
        '{"role":"user","content":[{"type":"text","text":"x","type":"image_url"}]}',
        '{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,","url":"https://x"}}]}',
    ],
)
@pytest.mark.parametrize("spaced", [False, True], ids=["compact", "spaced"])
def test_a_message_that_can_be_read_in_two_ways_is_refused(message: str, spaced: bool) -> None:
    text = message.replace('":', '" : ') if spaced else message
    error = refused(f'{{"model":"m","messages":[{{"role":"user","content":"Hi"}},{text}]}}'.encode())
    assert (error.param or "").startswith("messages")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]},
        {"role": "user", "content": [{"type": "file", "file_id": "file-abc"}]},
        {"role": "user", "content": [{"type": "file", "file": {"fileId": "file-abc"}}]},
        {"role": "assistant", "audio": {"id": "audio_abc"}},
    ],
)
def test_ids_of_what_is_stored_at_the_provider_are_refused(message: dict[str, Any]) -> None:
    error = refused(json.dumps({"model": "m", "messages": [*HELLO, message]}).encode())
    assert error.reason == "unknown_id"
    assert (error.param or "").startswith("messages[1]")


def test_endless_media_parts_are_refused() -> None:
    parts = [{"type": "image_url", "image_url": PNG}] * (MEDIA_PARTS_MAX + 1)
    assert refused_param(messages=content(*parts)) == "messages[0].content"


# --- properties -----------------------------------------------------------------------------------------------------

keys = st.sampled_from(["model", "messages", "n", "stream", "max_tokens", "user", "x", "Model", "\u212a"])
values = st.one_of(
    st.sampled_from(['"gpt-4o"', "1", "12", "true", "null", '[{"role":"user","content":"x"}]', "1.0", "[]"]),
    json_text.values,
)


@given(st.one_of(json_text.objects(keys, values), st.text(max_size=40)))
def test_any_text_is_read_or_refused_and_never_read_in_two_ways(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    try:
        request = read_chat_request(body)
    except InvalidRequest:
        return
    names = [member.key for member in members(body)]
    assert len(set(names)) == len(names)
    assert request.model == json.loads(body)["model"]
    assert request.message_count == len(json.loads(body)["messages"])
    assert request.n == (json.loads(body).get("n") or 1)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_chat_request(b'{"model":"m","messages":[{}],' + body)
