"""Requests and answers that both dialects can say, drawn at random: each in the form that a translator writes."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from gateway.core.translation.reasoning import FORMAT
from gateway.core.translation.turns_to_messages import TOOL_ERROR

Json = dict[str, Any]

IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789_-", min_size=1, max_size=12)
TEXTS = st.text(max_size=30).filter(lambda text: bool(text) and not text.isspace() and not text.startswith(TOOL_ERROR))
SIGNATURES = st.binary(min_size=1, max_size=20).map(lambda data: base64.b64encode(data).decode())
MARKS = st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
ARGUMENTS = st.builds(lambda value, indent: json.dumps(value, indent=indent), OBJECTS, st.sampled_from([None, 1]))
SCHEMAS = OBJECTS.map(lambda extra: {**extra, "type": "object"})
EFFORTS = st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"])


@st.composite
def some(draw: st.DrawFn, /, **optional: st.SearchStrategy[Any]) -> Json:
    """Some of these keys."""
    return {key: draw(value) for key, value in optional.items() if draw(st.booleans())}


def plain(parts: list[Json]) -> str | list[Json]:
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


# --- the chat dialect -----------------------------------------------------------------------------------------------


def chat_texts() -> st.SearchStrategy[Json]:
    return st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, TEXTS, some(cache_control=MARKS))


@st.composite
def chat_media(draw: st.DrawFn) -> Json:
    data = base64.b64encode(draw(st.binary(max_size=20))).decode()
    part = draw(
        st.sampled_from(
            [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
                {"type": "file", "file": {"filename": "b.pdf", "file_data": "https://a.example/b.pdf"}},
                {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,eA=="}},
            ]
        )
    )
    return {**part, **draw(some(cache_control=MARKS))}


def chat_parts() -> st.SearchStrategy[list[Json]]:
    return st.lists(chat_texts() | chat_media(), min_size=1, max_size=3)


def details() -> st.SearchStrategy[list[Json]]:
    signed = st.builds(lambda text, sig: {"text": text, "signature": sig}, st.just("") | TEXTS, SIGNATURES)
    text = signed.map(lambda said: {"type": "reasoning.text", **said, "format": FORMAT})
    sealed = SIGNATURES.map(lambda data: {"type": "reasoning.encrypted", "data": data, "format": FORMAT})
    found = st.lists(text | sealed, min_size=1, max_size=3)
    return found.map(lambda some: [{**detail, "index": index} for index, detail in enumerate(some)])


def thinking_fields(found: list[Json]) -> Json:
    readable = "".join([detail.get("text", "") for detail in found])
    said: Json = {"reasoning_content": readable} if readable else {}
    return said | ({"reasoning_details": found} if found else {})


@st.composite
def chat_calls(draw: st.DrawFn) -> list[Json]:
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    return [{"id": id, "type": "function", "function": {"name": draw(IDS), "arguments": draw(ARGUMENTS)}} for id in ids]


@st.composite
def chat_turns(draw: st.DrawFn) -> list[Json]:
    """What a user says, then the model, and what the model's tools found, over and over."""
    messages: list[Json] = []
    for _ in range(draw(st.integers(1, 3))):
        if not messages or (messages[-1]["role"] != "user" and draw(st.booleans())):
            messages.append({"role": "user", "content": plain(draw(chat_parts()))})
        thought = draw(st.just([]) | details())
        said = draw(st.lists(chat_texts(), max_size=2))
        calls = draw(st.just([]) | chat_calls())
        if not (thought or said or calls) or messages[-1]["role"] == "assistant":
            continue
        message: Json = {"role": "assistant", "content": plain(said) if said else None, **thinking_fields(thought)}
        messages.append(message | ({"tool_calls": calls} if calls else {}))
        for call in draw(st.permutations(calls)):
            found = draw(st.lists(chat_texts() | chat_media(), max_size=2))
            if draw(st.booleans()):
                failed = {"type": "text", "text": TOOL_ERROR + draw(TEXTS)}
                found = [failed, *found]
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": plain(found) if found else ""})
    return messages


@st.composite
def chat_requests(draw: st.DrawFn) -> Json:
    system = [{"role": "system", "content": plain(draw(st.lists(chat_texts(), min_size=1, max_size=2)))}]
    function = st.builds(
        lambda name, schema, more: {"name": name, "parameters": schema, **more},
        IDS,
        SCHEMAS,
        some(description=st.text(max_size=10), strict=st.just(True)),
    )
    tool = st.builds(
        lambda function, mark: {"type": "function", "function": function, **mark},
        function,
        some(cache_control=MARKS),
    )
    tools = draw(st.lists(tool, max_size=2))
    format = st.builds(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        SCHEMAS,
    )
    request: Json = {
        "model": draw(IDS),
        "max_completion_tokens": draw(st.integers(10_240, 200_000)),
        "messages": (system if draw(st.booleans()) else []) + draw(chat_turns()),
        **draw(
            some(
                response_format=format,
                stop=st.lists(TEXTS, min_size=1, max_size=4),
                top_p=st.sampled_from([0.95, 0.99]),
                user=TEXTS,
                service_tier=st.sampled_from(["auto", "default"]),
                cache_control=MARKS,
                stream=st.just(False),
            )
        ),
    }
    if draw(st.booleans()):
        request |= {"stream": True}
    if tools:
        request["tools"] = tools
        named = {"type": "function", "function": {"name": tools[0]["function"]["name"]}}
        request |= draw(some(tool_choice=st.sampled_from(["auto", "none", "required", named])))
        if request.get("tool_choice") not in (None, "none") and draw(st.booleans()):
            request["parallel_tool_calls"] = False
    if request.get("tool_choice", "auto") in ("auto", "none") and draw(st.booleans()):
        request["reasoning_effort"] = draw(EFFORTS | st.just("none"))
    if request.get("reasoning_effort", "none") == "none":
        request |= draw(some(temperature=st.floats(0, 1), top_k=st.integers(1, 500), top_p=st.floats(0, 0.9)))
    return request


# --- the messages dialect -------------------------------------------------------------------------------------------


def text_blocks() -> st.SearchStrategy[Json]:
    return chat_texts()


@st.composite
def media_blocks(draw: st.DrawFn) -> Json:
    data = base64.b64encode(draw(st.binary(max_size=20))).decode()
    title = {"title": draw(TEXTS)}
    block = draw(
        st.sampled_from(
            [
                {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": data}},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": data},
                    **title,
                },
                {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}, **title},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": draw(TEXTS)},
                    **title,
                },
            ]
        )
    )
    return {**block, **draw(some(cache_control=MARKS))}


def thinking_blocks() -> st.SearchStrategy[list[Json]]:
    signed = st.builds(
        lambda text, sig: {"type": "thinking", "thinking": text, "signature": sig}, st.just("") | TEXTS, SIGNATURES
    )
    sealed = SIGNATURES.map(lambda data: {"type": "redacted_thinking", "data": data})
    return st.lists(signed | sealed, max_size=3)


@st.composite
def use_blocks(draw: st.DrawFn) -> list[Json]:
    ids = draw(st.lists(IDS, max_size=3, unique=True))
    return [{"type": "tool_use", "id": id, "name": draw(IDS), "input": draw(OBJECTS)} for id in ids]


@st.composite
def result_blocks(draw: st.DrawFn, id: str) -> Json:
    result: Json = {"type": "tool_result", "tool_use_id": id, **draw(some(is_error=st.just(True)))}
    found = draw(st.lists(text_blocks() | media_blocks(), max_size=2))
    if len(found) == 1 and found[0]["type"] == "text" and "cache_control" in found[0]:
        result["cache_control"] = found[0].pop("cache_control")
    return result | ({"content": plain(found)} if found else {})


@st.composite
def turns(draw: st.DrawFn) -> list[Json]:
    made: list[Json] = []
    waiting: list[Json] = []
    for _ in range(draw(st.integers(1, 3))):
        said = draw(st.lists(text_blocks() | media_blocks(), min_size=0 if waiting else 1, max_size=2))
        results = [draw(result_blocks(use["id"])) for use in draw(st.permutations(waiting))]
        made.append({"role": "user", "content": plain(results + said)})
        waiting = draw(use_blocks())
        blocks = draw(thinking_blocks()) + draw(st.lists(text_blocks(), max_size=2)) + waiting
        if not blocks:
            break
        made.append({"role": "assistant", "content": plain(blocks)})
    return made


@st.composite
def messages_requests(draw: st.DrawFn) -> Json:
    tool = st.builds(
        lambda name, schema, more: {"name": name, "input_schema": schema, **more},
        IDS,
        SCHEMAS,
        some(description=st.text(max_size=10), strict=st.just(True), cache_control=MARKS),
    )
    tools = draw(st.lists(tool, max_size=2))
    request: Json = {
        "model": draw(IDS),
        "max_tokens": draw(st.integers(1, 200_000)),
        "messages": draw(turns()),
        **draw(
            some(
                system=st.lists(text_blocks(), min_size=1, max_size=2).map(plain),
                stop_sequences=st.lists(TEXTS, min_size=1, max_size=4),
                top_p=st.sampled_from([0.95, 0.99]),
                metadata=TEXTS.map(lambda user: {"user_id": user}),
                service_tier=st.sampled_from(["auto", "standard_only"]),
                cache_control=MARKS,
                stream=st.booleans(),
                output_config=SCHEMAS.map(lambda schema: {"format": {"type": "json_schema", "schema": schema}}),
            )
        ),
    }
    if tools:
        request["tools"] = tools
        kinds: list[Json] = [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": tools[0]["name"]}]
        one = {"disable_parallel_tool_use": True}
        choices = [{"type": "none"}, *kinds, *[{**kind, **one} for kind in kinds]]
        request |= draw(some(tool_choice=st.sampled_from(choices)))
    effort = draw(st.sampled_from([None, "low", "medium", "high", "xhigh", "max"]))
    if effort is not None and request.get("tool_choice", {}).get("type") not in ("any", "tool"):
        request["thinking"] = {"type": "adaptive"}
        request["output_config"] = {**request.get("output_config", {}), "effort": effort}
    else:
        request |= draw(some(temperature=st.floats(0, 1), top_k=st.integers(1, 500), top_p=st.floats(0, 0.9)))
    return request


# --- answers --------------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 1_000_000)


@st.composite
def messages_usage(draw: st.DrawFn) -> Json:
    output = draw(COUNTS)
    return {
        "input_tokens": draw(COUNTS),
        "cache_creation_input_tokens": draw(COUNTS),
        "cache_read_input_tokens": draw(COUNTS),
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": draw(st.integers(0, output))},
        **draw(
            some(
                server_tool_use=st.just({"web_search_requests": 2}),
                cache_creation=st.just({"ephemeral_1h_input_tokens": 1, "ephemeral_5m_input_tokens": 2}),
                service_tier=st.sampled_from(["standard", "priority"]),
            )
        ),
    }


@st.composite
def message_answers(draw: st.DrawFn) -> Json:
    blocks = draw(thinking_blocks())
    cited = st.lists(
        st.builds(
            lambda title, text, index: {
                "type": "web_search_result_location",
                "url": "https://a.example",
                "title": title,
                "cited_text": text,
                "encrypted_index": index,
            },
            st.none() | TEXTS,
            st.text(max_size=9),
            st.text(max_size=9),
        ),
        min_size=1,
        max_size=2,
    )
    if draw(st.booleans()):
        blocks.append({"type": "text", "text": draw(TEXTS), **draw(some(citations=cited))})
    uses = draw(use_blocks())
    reasons = ["max_tokens", "refusal", "model_context_window_exceeded"]
    reason = draw(st.sampled_from([*reasons, "tool_use"] if uses else [*reasons, "end_turn", "stop_sequence"]))
    answer: Json = {
        "id": draw(IDS),
        "type": "message",
        "role": "assistant",
        "model": draw(IDS),
        "content": blocks + uses,
        "stop_reason": reason,
        "stop_sequence": draw(st.none() | TEXTS) if reason == "stop_sequence" else None,
        "usage": draw(messages_usage()),
    }
    if reason == "refusal":
        explanation = draw(st.none() | TEXTS)
        answer["stop_details"] = {"type": "refusal", "category": None, "explanation": explanation}
    return answer


@st.composite
def chat_answers(draw: st.DrawFn) -> Json:
    """Of any provider: only the content has to be sayable, not the reason."""
    thought = draw(st.just([]) | details())
    calls = draw(st.just([]) | chat_calls())
    message: Json = {
        "role": "assistant",
        "content": draw(st.none() | TEXTS),
        "refusal": None,
        **thinking_fields(thought),
        **({"tool_calls": calls} if calls else {}),
    }
    output, cached, written, fresh = [draw(COUNTS) for _ in range(4)]
    usage = {
        "prompt_tokens": cached + written + fresh,
        "completion_tokens": output,
        "total_tokens": cached + written + fresh + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": draw(st.integers(0, output))},
    }
    reasons = ["length", "content_filter", "tool_calls" if calls else "stop"]
    return {
        "id": draw(IDS),
        "object": "chat.completion",
        "created": draw(st.integers(0, 2**31)),
        "model": draw(IDS),
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": draw(st.sampled_from(reasons))}
        ],
        "usage": usage,
        **draw(some(service_tier=st.sampled_from(["default", "priority"]))),
    }
