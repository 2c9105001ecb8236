"""Responses that the other dialects can say, drawn at random, and cut into streams as their providers send them."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.core.translation.conversations import ARGUMENTS, COUNTS, EFFORTS, IDS, SCHEMAS, SIGNATURES, TEXTS, some
from tests.core.translation.streaming import Cut

Json = dict[str, Any]


def _parts(kind: str) -> st.SearchStrategy[list[Json]]:
    return st.lists(TEXTS.map(lambda text: {"type": kind, "text": text}), max_size=2)


@st.composite
def reasoning(draw: st.DrawFn, *, id: str) -> Json:
    item: Json = {"id": id, "type": "reasoning", "summary": draw(_parts("summary_text"))}
    if content := draw(_parts("reasoning_text")):
        item["content"] = content
    if not (item["summary"] or content) or draw(st.booleans()):
        item["encrypted_content"] = draw(SIGNATURES)
    return item


@st.composite
def usage(draw: st.DrawFn) -> Json:
    output, cached, written, fresh = [draw(COUNTS) for _ in range(4)]
    return {
        "input_tokens": cached + written + fresh,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": draw(st.integers(0, output))},
        "total_tokens": cached + written + fresh + output,
    }


@st.composite
def message(draw: st.DrawFn, *, id: str) -> Json:
    text = {"type": "output_text", "text": draw(TEXTS), "annotations": [], "logprobs": []}
    refusal = {"type": "refusal", "refusal": draw(TEXTS)}
    content = draw(st.sampled_from([[text], [refusal], [text, refusal]]))
    return {"id": id, "type": "message", "status": "completed", "role": "assistant", "content": content}


@st.composite
def call(draw: st.DrawFn, *, id: str) -> Json:
    return {
        "id": id,
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{id}",
        "name": draw(IDS),
        "arguments": draw(ARGUMENTS),
    }


@st.composite
def response_answers(draw: st.DrawFn, *, in_chat_order: bool = False) -> Json:
    kinds = draw(st.lists(st.sampled_from(["reasoning", "message", "call"]), max_size=4))
    if in_chat_order:
        kinds = sorted(set(kinds) - {"call"}, reverse=True) + [kind for kind in kinds if kind == "call"]
    made: Json = {"reasoning": reasoning, "message": message, "call": call}
    output: list[Json] = [draw(made[kind](id=f"item_{at}")) for at, kind in enumerate(kinds)]
    answer: Json = {
        "id": draw(IDS),
        "object": "response",
        "created_at": draw(st.integers(0, 2**31)),
        "model": draw(IDS),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": output,
        "usage": draw(usage()),
        **draw(some(service_tier=st.sampled_from(["default", "priority"]))),
    }
    if draw(st.booleans()):
        reason = draw(st.sampled_from(["max_output_tokens", "content_filter"]))
        answer |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
        if output and "status" in output[-1]:
            output[-1]["status"] = "incomplete"
    return answer


def _pieces(at: int, item: Json, cut: Cut) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": at}
    if item["type"] == "function_call":
        for piece in cut(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}
        return
    for number, part in enumerate(item.get("summary") or ()):
        where = {**place, "summary_index": number}
        empty = {**part, "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **where, "part": empty}
        for piece in cut(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **where, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **where, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **where, "part": part}
    for number, part in enumerate(item.get("content") or ()):
        where = {**place, "content_index": number}
        key = "refusal" if part["type"] == "refusal" else "text"
        yield {"type": "response.content_part.added", **where, "part": {**part, key: ""}}
        for piece in cut(part[key]):
            yield {"type": f"response.{part['type']}.delta", **where, "delta": piece}
        yield {"type": f"response.{part['type']}.done", **where, key: part[key]}
        yield {"type": "response.content_part.done", **where, "part": part}


_BEGINS: dict[str, Json] = {
    "message": {"status": "in_progress", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"status": "in_progress", "arguments": ""},
}


def response_stream(answer: Json, cut: Cut) -> bytes:
    begun = {**answer, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    said: list[Json] = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for at, item in enumerate(answer["output"]):
        begins = {key: value for key, value in item.items() if key not in ("content", "encrypted_content")}
        said.append({"type": "response.output_item.added", "output_index": at, "item": begins | _BEGINS[item["type"]]})
        said += _pieces(at, item, cut)
        said.append({"type": "response.output_item.done", "output_index": at, "item": item})
    said.append({"type": f"response.{answer['status']}", "response": answer})
    events = [{**data, "sequence_number": number} for number, data in enumerate(said)]
    return b"".join([f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode() for data in events])


# --- requests -------------------------------------------------------------------------------------------------------


def _input_parts() -> st.SearchStrategy[str | list[Json]]:
    media: list[Json] = [
        {"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "auto"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
    ]
    text = TEXTS.map(lambda text: {"type": "input_text", "text": text})
    parts = st.lists(text | st.sampled_from(media), min_size=1, max_size=3)
    return parts.map(lambda made: made[0]["text"] if len(made) == 1 and "text" in made[0] else made)


@st.composite
def response_requests(draw: st.DrawFn) -> Json:
    """As chat_request_to_responses writes them."""
    given: list[Json] = []
    for turn in range(draw(st.integers(1, 3))):
        given.append({"role": "user", "content": draw(_input_parts())})
        if draw(st.booleans()):
            given.append(draw(reasoning(id=f"rs_{turn}")))
        if draw(st.booleans()):
            given.append({"role": "assistant", "content": draw(TEXTS)})
        calls = [f"call_{turn}_{at}" for at in range(draw(st.integers(0, 2)))]
        given += [
            {"type": "function_call", "call_id": id, "name": draw(IDS), "arguments": draw(ARGUMENTS)} for id in calls
        ]
        given += [
            {"type": "function_call_output", "call_id": id, "output": draw(_input_parts())}
            for id in draw(st.permutations(calls))
        ]
    tool = st.builds(
        lambda name, schema, strict, more: {
            "type": "function",
            "name": name,
            "parameters": schema,
            "strict": strict,
            **more,
        },
        IDS,
        SCHEMAS,
        st.booleans(),
        some(description=st.text(max_size=10)),
    )
    tools = draw(st.lists(tool, max_size=2))
    format = st.builds(
        lambda schema: {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}, SCHEMAS
    )
    request: Json = {
        "model": draw(IDS),
        "input": given,
        "store": False,
        **draw(
            some(
                instructions=TEXTS,
                max_output_tokens=st.integers(16, 200_000),
                text=format,
                top_p=st.floats(0.95, 1, exclude_max=True),
                user=TEXTS,
                service_tier=st.sampled_from(["auto", "default"]),
                stream=st.booleans(),
            )
        ),
    }
    if tools:
        named = {"type": "function", "name": tools[0]["name"]}
        request |= {"tools": tools, **draw(some(tool_choice=st.sampled_from(["auto", "none", "required", named])))}
        request |= draw(some(parallel_tool_calls=st.booleans()))
    if draw(st.booleans()):
        request |= {"reasoning": {"effort": draw(EFFORTS)}, "include": ["reasoning.encrypted_content"]}
    return request
