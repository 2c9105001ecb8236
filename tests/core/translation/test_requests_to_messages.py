"""Chat requests, said for Anthropic."""

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages

TARGET = MessagesTarget(max_tokens_default=4096)
ADAPTIVE = MessagesTarget(max_tokens_default=4096, adaptive_thinking=True)
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
PIXEL = base64.b64encode(b"pixel").decode()


def translated(target: MessagesTarget = TARGET, **chat: Any) -> dict[str, Any]:
    body = json.dumps({"model": "claude", "messages": [HI], **chat}).encode()
    return json.loads(request_to_messages(body, target).body)  # type: ignore[no-any-return]


def dropped(target: MessagesTarget = TARGET, **chat: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = json.dumps({"model": "claude", "messages": [HI], **chat}).encode()
    made = request_to_messages(body, target, drop_unsupported=True)
    return json.loads(made.body), made.dropped


def refused(target: MessagesTarget = TARGET, **chat: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        translated(target, **chat)
    return caught.value.param


def turns(*messages: dict[str, Any], target: MessagesTarget = TARGET) -> list[dict[str, Any]]:
    return translated(target, messages=list(messages))["messages"]  # type: ignore[no-any-return]


def test_the_smallest_request() -> None:
    assert translated() == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
    }


# --- turns ----------------------------------------------------------------------------------------------------------


def test_system_prompts_of_all_places_are_gathered() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        HI,
        {"role": "system", "content": "Three."},
    ]
    assert translated(messages=messages)["system"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two."},
        {"type": "text", "text": "Three."},
    ]


def test_a_single_system_prompt_stays_a_string() -> None:
    assert translated(messages=[{"role": "developer", "content": "Be brief."}, HI])["system"] == "Be brief."


def test_a_later_system_prompt_keeps_its_place_where_the_model_takes_it() -> None:
    target = MessagesTarget(max_tokens_default=1, system_in_place=True)
    later = {"role": "system", "content": "Now in French."}
    answer = {"role": "assistant", "content": "Hello."}
    assert turns(HI, later, answer, HI, target=target) == [HI, later, answer, HI]
    assert turns(HI, answer, later, HI, target=target) == [HI, answer, HI, later]
    body = translated(target, messages=[HI, answer, later])
    assert (body["system"], body["messages"]) == ("Now in French.", [HI, answer])


def test_neighbours_of_one_role_become_one_turn() -> None:
    assert turns(HI, {"role": "user", "content": "There?"}, {"role": "assistant", "content": "A"}, HI) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "There?"}]},
        {"role": "assistant", "content": "A"},
        HI,
    ]


def test_calls_and_their_results_in_any_order() -> None:
    second = {**CALL, "id": "call_2"}
    made = turns(
        HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
        {"role": "user", "content": "Well?"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sun"}]},
    )
    assert made[1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
    ]
    assert made[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
            {"type": "text", "text": "Well?"},
        ],
    }


def test_arguments_are_kept_byte_for_byte() -> None:
    spelled = '{"n": 1.50, "big": 123456789012345678901234567890, "e":1e400}'
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": spelled}}
    body = json.dumps({"model": "m", "messages": [HI, {"role": "assistant", "tool_calls": [call]}]}).encode()
    assert b'"input":' + spelled.encode() in request_to_messages(body, TARGET).body


def test_empty_arguments_are_an_empty_object() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert turns(HI, {"role": "assistant", "tool_calls": [call]})[1]["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ["[1]", "nul", '{"a":', "3", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [HI, {"role": "assistant", "tool_calls": [call]}]
    assert refused(messages=messages) == "messages[1].tool_calls[0].function.arguments"


def test_ids_of_calls_are_spelled_as_anthropic_takes_them() -> None:
    call = {**CALL, "id": "functions.weather:0"}
    made = turns(
        HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sun"},
    )
    assert made[1]["content"][0]["id"] == made[2]["content"][0]["tool_use_id"] == "functions_2e_weather_3a_0"


def test_a_result_may_hold_an_image_or_tell_of_an_error() -> None:
    made = turns(
        HI,
        {"role": "assistant", "tool_calls": [CALL]},
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": [
                {"type": "text", "text": "[tool error] no sky"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
    )
    assert made[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "no sky"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ],
        }
    ]


def test_text_that_says_nothing_is_left_out() -> None:
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "\n"}, {"type": "text", "text": "x"}]
    assert turns(HI, {"role": "assistant", "content": ""}, {"role": "user", "content": parts}) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "x"}]}
    ]
    assert refused(messages=[{"role": "user", "content": " "}]) == "messages"
    assert refused(messages=[]) == "messages"


def test_a_refusal_of_an_earlier_turn_is_said_as_text() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    assert turns(HI, message, HI)[1] == {"role": "assistant", "content": "I will not."}


def test_what_clients_hand_back_with_an_answer_is_no_obstacle() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "Hello.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "prefix": False,
    }
    assert turns(HI, message, HI)[1] == {"role": "assistant", "content": "Hello."}


# --- parts ----------------------------------------------------------------------------------------------------------

PARTS: dict[str, Any] = {
    "an image as data": (
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PIXEL}", "detail": "auto"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}},
    ),
    "an image by its URL": (
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
    ),
    "an image as Mistral writes it": (
        {"type": "image_url", "image_url": "https://a.example/b.png"},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
    ),
    "a PDF": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
            "title": "a.pdf",
        },
    ),
    "plain text": (
        {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{PIXEL}"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "pixel"},
            "title": "a.txt",
        },
    ),
    "a file by its URL": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://a.example/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}, "title": "a.pdf"},
    ),
    "a document as Mistral writes it": (
        {"type": "document_url", "document_url": "https://a.example/a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
    ),
    "a mark for the cache": (
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ),
    "OpenAI's mark for the cache": (
        {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_becomes_a_block(name: str) -> None:
    part, block = PARTS[name]
    assert turns({"role": "user", "content": [part, {"type": "text", "text": "?"}]})[0]["content"][0] == block


LOST_PARTS = {
    "messages[0].content[0].type": {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    "messages[0].content[0].file.file_id": {"type": "file", "file": {"file_id": "file-1"}},
    "messages[0].content[0].image_url.url": {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}},
    "messages[0].content[0].image_url.detail": {
        "type": "image_url",
        "image_url": {"url": "https://a.example", "detail": "low"},
    },
    "messages[0].content[0].file.file_data": {"type": "file", "file": {"file_data": "data:text/plain;base64,_"}},
    "messages[0].content[0].prompt_cache_breakpoint.ttl": {
        "type": "text",
        "text": "x",
        "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"},
    },
}


@pytest.mark.parametrize("param", LOST_PARTS)
def test_a_part_that_cannot_be_said_is_refused_or_dropped(param: str) -> None:
    content = [LOST_PARTS[param], {"type": "text", "text": "?"}]
    assert refused(messages=[{"role": "user", "content": content}]) == param
    body, lost = dropped(messages=[{"role": "user", "content": content}])
    assert [name.split("=")[0] for name in lost] == [param.replace("[0]", "[]")]
    assert "?" in json.dumps(body["messages"])


# --- thinking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", {"type": "disabled"}),
        ("minimal", {"type": "enabled", "budget_tokens": 2000}),
        ("low", {"type": "enabled", "budget_tokens": 4000}),
        ("medium", {"type": "enabled", "budget_tokens": 10000}),
        ("high", {"type": "enabled", "budget_tokens": 16000}),
        ("xhigh", {"type": "enabled", "budget_tokens": 18000}),
        ("max", {"type": "enabled", "budget_tokens": 19000}),
    ],
)
def test_effort_is_a_share_of_the_output(effort: str, thinking: dict[str, Any]) -> None:
    assert translated(reasoning_effort=effort, max_tokens=20_000)["thinking"] == thinking
    assert translated(reasoning={"effort": effort}, max_tokens=20_000)["thinking"] == thinking


def test_effort_is_named_to_models_that_think_adaptively() -> None:
    made = translated(ADAPTIVE, reasoning_effort="minimal")
    assert (made["thinking"], made["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})


def test_openrouters_words_for_thinking() -> None:
    assert translated(reasoning={"max_tokens": 1500})["thinking"] == {"type": "enabled", "budget_tokens": 1500}
    assert translated(reasoning={"enabled": True})["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert translated(reasoning={"enabled": False})["thinking"] == {"type": "disabled"}
    assert translated(reasoning={"effort": "high", "exclude": True})["thinking"]["display"] == "omitted"


def test_a_budget_leaves_room_for_an_answer() -> None:
    assert translated(reasoning_effort="low", max_tokens=1025)["thinking"]["budget_tokens"] == 1024
    assert refused(reasoning_effort="low", max_tokens=1024) == "reasoning_effort"
    assert refused(reasoning={"max_tokens": 4096}) == "reasoning"
    assert refused(reasoning_effort="enormous") == "reasoning_effort"


def test_what_cannot_be_had_while_thinking() -> None:
    assert refused(reasoning_effort="low", temperature=0.5) == "temperature"
    assert refused(reasoning_effort="low", top_k=5) == "top_k"
    assert refused(reasoning_effort="low", tools=[TOOL], tool_choice="required") == "reasoning_effort"
    assert translated(reasoning_effort="none", temperature=0.5)["temperature"] == 0.5


SIGNED = {
    "type": "reasoning.text",
    "text": "Hmm.",
    "signature": "c2ln",
    "format": "anthropic-claude-v1",
    "index": 0,
}


def test_signed_thinking_comes_back_as_blocks_before_all_else() -> None:
    details = [SIGNED, {"type": "reasoning.encrypted", "data": "ZW5j", "format": "anthropic-claude-v1", "index": 1}]
    message = {
        "role": "assistant",
        "content": "A",
        "reasoning_content": "Hmm.",
        "reasoning_details": details,
        "tool_calls": [CALL],
    }
    assert turns(HI, message)[1]["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "text", "text": "A"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
    ]


def test_thinking_that_a_client_kept_in_pieces_is_put_together() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "H", "index": 0},
        {"type": "reasoning.text", "text": "mm.", "index": 0, "signature": None},
        {"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        {**SIGNED, "text": "Next."},
    ]
    made = turns(HI, {"role": "assistant", "content": "A", "reasoning_details": pieces})[1]["content"]
    assert [block.get("thinking") for block in made] == ["Hmm.", "Next.", None]


def test_thinking_without_anthropics_signature_is_not_sent() -> None:
    foreign = {**SIGNED, "format": "openai-responses-v1"}
    assert refused(messages=[HI, {"role": "assistant", "content": "A", "reasoning_content": "Hmm."}]) == (
        "messages[1].reasoning_content"
    )
    body, lost = dropped(messages=[HI, {"role": "assistant", "content": "A", "reasoning_details": [foreign]}, HI])
    assert (body["messages"][1]["content"], lost) == ("A", ("messages[].reasoning_details",))


def test_a_turn_that_goes_on_after_calls_can_only_think_on() -> None:
    messages: list[dict[str, Any]] = [
        HI,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]
    assert refused(messages=messages, reasoning_effort="low") == "reasoning_effort"
    assert translated(ADAPTIVE, messages=messages, reasoning_effort="low")["thinking"] == {"type": "adaptive"}
    messages[1]["reasoning_details"] = [SIGNED]
    assert translated(messages=messages, reasoning_effort="low")["thinking"]["type"] == "enabled"


# --- tools ----------------------------------------------------------------------------------------------------------


def test_tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [
        {
            "type": "function",
            "function": {"name": "a", "description": "d", "parameters": schema, "strict": True},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "function", "function": {"name": "b", "strict": False}},
        {"function": {"name": "c", "parameters": {"properties": {}}}},
    ]
    assert translated(tools=tools)["tools"] == [
        {
            "name": "a",
            "description": "d",
            "input_schema": schema,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "b", "input_schema": {"type": "object", "properties": {}}},
        {"name": "c", "input_schema": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "made"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("any", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, None, {"type": "tool", "name": "weather"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, True, None),
    ],
)
def test_the_choice_of_tools(choice: object, parallel: bool | None, made: object) -> None:
    body = translated(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == made


def test_choices_that_cannot_be_said() -> None:
    assert refused(tools=[TOOL], tool_choice="whatever") == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}) == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {}}) == "tool_choice.type"
    assert refused(tool_choice="required") == "tool_choice"
    assert "tool_choice" not in translated(tool_choice="auto")
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools[0].type"
    body, lost = dropped(tools=[{"type": "openrouter:web_search"}], tool_choice="auto")
    assert (body.get("tools"), lost) == (None, ("tools[].type=openrouter:web_search",))


# --- the rest -------------------------------------------------------------------------------------------------------


def test_the_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    named = {"name": "x", "schema": schema, "strict": True, "description": "An x."}
    made = translated(response_format={"type": "json_schema", "json_schema": named})
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": {"description": "An x.", **schema}}}
    assert "output_config" not in translated(response_format={"type": "text"})
    assert refused(response_format={"type": "json_object"}) == "response_format.type"


def test_the_form_of_the_answer_stands_beside_the_effort() -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    made = translated(ADAPTIVE, reasoning_effort="high", response_format=format)
    assert made["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": {}}}


def test_limits_and_sampling() -> None:
    assert translated(max_tokens=5)["max_tokens"] == 5
    assert translated(max_tokens=5, max_completion_tokens=3)["max_tokens"] == 3
    assert refused(max_tokens=0) == "max_completion_tokens"
    sampling: dict[str, Any] = {"temperature": 1, "top_p": 0.25, "top_k": 40}
    assert translated(**sampling) == translated() | sampling
    assert refused(temperature=1.5) == "temperature"
    assert "temperature" not in dropped(temperature=1.5)[0]


def test_stops() -> None:
    assert translated(stop="END")["stop_sequences"] == ["END"]
    assert translated(stop=["A", "B"])["stop_sequences"] == ["A", "B"]
    assert refused(stop="\n") == "stop"
    assert dropped(stop=["\n", "A"])[0]["stop_sequences"] == ["A"]
    assert refused(stop=3) == "stop"


def test_who_asks() -> None:
    assert translated(user="u")["metadata"] == {"user_id": "u"}
    assert translated(safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert translated(user="s", safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert refused(user="u", safety_identifier="s") == "user"


def test_tier_stream_and_marks() -> None:
    assert translated(service_tier="default")["service_tier"] == "standard_only"
    assert translated(service_tier="auto")["service_tier"] == "auto"
    assert refused(service_tier="flex") == "service_tier"
    made = translated(stream=True, stream_options={"include_usage": True}, cache_control={"type": "ephemeral"})
    assert (made["stream"], made["cache_control"]) == (True, {"type": "ephemeral"})
    assert "stream_options" not in made


UNSAYABLE: dict[str, Any] = {
    "n": 2,
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"1": 2},
    "presence_penalty": 0.5,
    "frequency_penalty": -1,
    "modalities": ["text", "audio"],
    "audio": {"voice": "a", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "store": True,
    "verbosity": "low",
    "web_search_options": {},
    "metadata": {"a": "b"},
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "anything_else": 1,
}


@pytest.mark.parametrize("field", UNSAYABLE)
def test_a_field_that_cannot_be_said_is_refused_or_dropped_by_its_name(field: str) -> None:
    assert refused(**{field: UNSAYABLE[field]}) == field
    body, lost = dropped(**{field: UNSAYABLE[field]})
    assert lost == (field,)
    assert body == translated()


def test_values_that_ask_for_what_happens_anyway_are_no_loss() -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "modalities": ["text"],
        "store": False,
        "seed": None,
        "prompt_cache_key": "k",
    }
    assert translated(**neutral) == translated()


def test_each_loss_is_listed_once() -> None:
    messages = [{**HI, "name": "ann"}, {"role": "assistant", "content": "A"}, {**HI, "name": "bob"}]
    assert dropped(messages=messages, seed=1)[1] == ("messages[].name", "seed")


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        ({"model": 3}, "model"),
        ({"model": None}, "model"),
        ({"messages": {}}, "messages"),
        ({"messages": [3]}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [HI, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_malformed_is_named_even_when_dropping(chat: dict[str, Any], param: str) -> None:
    assert refused(**chat) == param
    with pytest.raises(InvalidRequest) as caught:
        dropped(**chat)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model":"a"',
        b'{"model":"a","model":"b","messages":[]}',
        b'{"model":"\xff","messages":[{"role":"user","content":"Hi"}]}',
        b'{"a":' * 100_000,
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        request_to_messages(body, TARGET, drop_unsupported=True)


def test_a_refusal_says_that_nothing_was_sent() -> None:
    with pytest.raises(InvalidRequest, match=r"`seed` .* nothing was sent") as caught:
        translated(seed=1)
    assert caught.value.reason == "unsupported_parameter"
