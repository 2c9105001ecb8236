"""What of a Responses request decides its price; what can be read in two ways or belongs to nobody is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dialect import KeptKind, Reference
from gateway.core.errors import InvalidRequest
from gateway.core.openai_responses.request import ResponsesRequest, read_responses_request
from gateway.core.openai_responses.splicing import splice_for
from gateway.upstream.registry import Upstream

UPSTREAM = Upstream(name="main", provider="openai", base_url="http://127.0.0.1:9/v1", api_key="")
PNG = "data:image/png;base64," + "A" * 4000


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "input": "hi", **fields})


def read(**fields: Any) -> ResponsesRequest:
    return read_responses_request(body(**fields))


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [fields]}


def part(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [fields]}]}


def test_the_facts_of_a_plain_request() -> None:
    facts = read(stream=True, max_output_tokens=50, service_tier="flex", instructions="Be brief.")
    assert (facts.model, facts.stream, facts.output_limit, facts.service_tier, facts.n) == ("m", True, 50, "flex", 1)
    assert not any((facts.audio, facts.other_output, facts.by_reference, facts.tools, facts.hosted_tools))
    assert facts.prompt_bytes == len(facts.body)


def test_an_inline_image_is_counted_apart_from_the_bytes() -> None:
    facts = read(**part(type="input_image", image_url=PNG))
    assert facts.images == 1
    assert not facts.by_reference
    assert facts.prompt_bytes < 200


@pytest.mark.parametrize(
    "fields",
    [
        part(type="input_image", image_url="https://example.com/a.png"),
        part(type="input_file", file_url="https://example.com/a.pdf"),
        part(type="input_file", file_data="data:application/pdf;base64,AAAA"),
        part(type="something_new", what=1),
        item(type="reasoning", id="rs_1", summary=[]),
        item(type="web_search_call", id="ws_1"),
        item(type="something_new"),
        {"context_management": [{"type": "compaction"}]},
        {"reasoning": {"mode": "pro"}},
    ],
)
def test_what_the_body_only_names_or_packs_is_by_reference(fields: dict[str, Any]) -> None:
    assert read(**fields).by_reference


@pytest.mark.parametrize(
    "fields",
    [
        item(type="reasoning", id="rs_1", encrypted_content="AAAA", summary=[]),
        item(type="reasoning", content=[{"type": "reasoning_text", "text": "hm"}]),
        item(type="function_call", call_id="c", name="f", arguments="{}"),
        item(type="function_call_output", call_id="c", output="done"),
        item(type="function_call_output", call_id="c", output=[{"type": "input_text", "text": "done"}]),
        item(type="message", role="assistant", content=[{"type": "output_text", "text": "hi"}]),
        item(type="compaction", encrypted_content="AAAA"),
    ],
)
def test_what_is_all_there_is_not(fields: dict[str, Any]) -> None:
    assert not read(**fields).by_reference


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        (part(type="input_file", file_id="file_1"), "input[0].content[0].file_id"),
        (part(type="input_image", file_id="file_1"), "input[0].content[0].file_id"),
        (
            item(type="computer_call_output", output={"type": "computer_screenshot", "file_id": "file_1"}),
            "input[0].output.file_id",
        ),
        (item(type="code_interpreter_call", container_id="cntr_1"), "input[0].container_id"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools[0].vector_store_ids"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container"),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]},
            "tools[0].container.file_ids",
        ),
        (
            {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}}]},
            "tools[0].environment.container_id",
        ),
    ],
)
def test_what_is_stored_at_the_provider_may_be_anybodys(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert (refused.value.param, refused.value.reason) == (param, "unknown_id")


@pytest.mark.parametrize(
    ("fields", "kind", "id", "param"),
    [
        ({"previous_response_id": "resp_1"}, "response", "resp_1", "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation", "conv_1", "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "conv_1", "conversation.id"),
        (item(type="item_reference", id="msg_1"), "item", "msg_1", "input[0].id"),
        (item(type="reasoning", id="rs_1", summary=[]), "item", "rs_1", "input[0].id"),
        (item(type="image_generation_call", id="ig_1"), "item", "ig_1", "input[0].id"),
    ],
)
def test_what_is_kept_and_must_be_ones_own(fields: dict[str, Any], kind: KeptKind, id: str, param: str) -> None:
    facts = read(**fields)
    assert facts.references == (Reference(kind, id, param),)
    assert facts.by_reference


def test_the_input_may_be_absent_where_there_are_earlier_turns() -> None:
    assert read_responses_request(b'{"model":"m","previous_response_id":"resp_1"}').message_count == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": None},
        {"type": "item_reference"},
        {"type": "reasoning", "summary": [], "content": []},
        {"type": "reasoning", "summary": [], "encrypted_content": ""},
        {"type": "compaction"},
        {"type": "image_generation_call", "result": ""},
    ],
)
def test_an_item_that_holds_nothing_stands_for_what_is_stored_under_its_id(fields: dict[str, Any]) -> None:
    facts = read(**item(id="rs_1", **fields))
    assert facts.by_reference
    assert [reference.id for reference in facts.references] == ["rs_1"]


@pytest.mark.parametrize(
    ("tool", "hosted", "pictures"),
    [
        ({"type": "function", "name": "f"}, False, False),
        ({"type": "custom", "name": "f"}, False, False),
        ({"type": "namespace", "tools": [{"type": "function"}]}, False, False),
        ({"type": "tool_search", "execution": "client"}, False, False),
        ({"type": "apply_patch"}, False, False),
        ({"type": "web_search"}, True, False),
        ({"type": "mcp", "server_url": "https://example.com"}, True, False),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, True, False),
        ({"type": "image_generation"}, True, True),
        ({"type": "tool_search", "execution": "server"}, True, False),
        ({"type": "namespace", "tools": [{"type": "web_search"}]}, True, False),
        ({"type": "something_new"}, True, False),
    ],
)
def test_who_runs_a_tool(tool: dict[str, Any], hosted: bool, pictures: bool) -> None:
    for fields in ({"tools": [tool]}, item(type="additional_tools", tools=[tool])):
        facts = read(**fields)
        assert (facts.tools, facts.hosted_tools, facts.other_output) == (True, hosted, pictures)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[1]", None),
        (b"[" * 100_000, None),
        (b'{"model":"m","model":"n","input":"hi"}', "model"),
        (body(Max_Output_Tokens=5), "max_output_tokens"),
        (body(maxOutputTokens=5), "max_output_tokens"),
        (body(max_output_tokens=0), "max_output_tokens"),
        (body(max_output_tokens=1e9), "max_output_tokens"),
        (body(stream="yes"), "stream"),
        (body(model=""), "model"),
        (body(models=["a"]), "models"),
        (body(max_tokens=4000), "max_tokens"),
        (body(max_completion_tokens=4000), "max_completion_tokens"),
        (body(n_predict=4000), "n_predict"),
        (body(n=2), "n"),
        (body(n_cmpl=2), "n_cmpl"),
        (body(input=5), "input"),
        (body(input=[5]), "input"),
        (b'{"model":"m"}', "input"),
        (body(tools=5), "tools"),
        (body(tools=[{"Type": "web_search"}]), "tools[0]"),
        (body(input=[{"role": "user", "Content": []}]), "input[0]"),
        (body(input=[{"role": "user", "content": [{"type": "input_text", "fileId": "f"}]}]), "input[0].content[0]"),
        (body(background="yes"), "background"),
        (body(background=True, stream=True), "background"),
        (body(background=True, store=False), "background"),
        (body(store="no"), "store"),
        (body(previous_response_id=5), "previous_response_id"),
        (body(previous_response_id=""), "previous_response_id"),
        (body(previousResponseId="resp_1"), "previous_response_id"),
        (body(conversation=5), "conversation"),
        (body(conversation={}), "conversation.id"),
        (body(input=[{"type": "item_reference"}]), "input[0].id"),
        (body(input=[{"type": "reasoning", "summary": []}]), "input[0].id"),
        (body(Background=True), "background"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_by_name(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_responses_request(raw)
    assert refused.value.param == param


def test_splicing_touches_nothing_but_the_model_and_the_limit() -> None:
    facts = read(max_output_tokens=500, text={"verbosity": "low"})
    assert splice_for(facts, "m", UPSTREAM, None) == (facts.body, False)
    assert splice_for(facts, "m", UPSTREAM, 800) == (facts.body, False)
    spliced, asks = splice_for(facts, "other", UPSTREAM, 300)
    assert not asks
    assert msgspec.json.decode(spliced) == msgspec.json.decode(facts.body) | {
        "model": "other",
        "max_output_tokens": 300,
    }
    unlimited = read()
    assert msgspec.json.decode(splice_for(unlimited, "m", UPSTREAM, 300)[0])["max_output_tokens"] == 300
    nothing = read_responses_request(b'{ "model":"m","input":"hi","max_output_tokens":null}')
    assert splice_for(nothing, "m", UPSTREAM, 300)[0] == b'{ "model":"m","input":"hi","max_output_tokens":300}'


@given(
    st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text(max_size=9), max_size=5),
    st.sampled_from([None, 16, 400]),
    st.booleans(),
)
def test_whatever_stands_beside_it_stays(others: dict[str, Any], limit: int | None, spaced: bool) -> None:
    raw = msgspec.json.encode({**others, "model": "m", "input": "hi", "max_output_tokens": limit})
    if spaced:
        raw = msgspec.json.format(raw, indent=3)
    try:
        facts = read_responses_request(raw)
    except InvalidRequest:
        return
    made = msgspec.json.decode(splice_for(facts, "n", UPSTREAM, 100)[0])
    assert made == msgspec.json.decode(raw) | {"model": "n", "max_output_tokens": min(limit or 100, 100)}
