"""Whole answers cut into streams of their own dialect, as their providers send them."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

Json = dict[str, Any]
Cut = Callable[[str], list[str]]
"""Cuts a text into pieces, whose sum it is."""


def _chunks(answer: Json, cut: Cut) -> Iterator[Json]:
    message = answer["choices"][0]["message"]
    yield {"role": "assistant", "content": ""}
    details = message.get("reasoning_details") or ()
    for detail in details:
        if "text" not in detail:
            yield {"reasoning_details": [detail]}
            continue
        for piece in cut(detail["text"]):
            said = {"type": detail["type"], "text": piece, "index": detail["index"]}
            yield {"reasoning_content": piece, "reasoning_details": [said]}
        yield {"reasoning_details": [{key: value for key, value in detail.items() if key != "text"}]}
    for key in ("reasoning_content", "reasoning", "content", "refusal"):
        if isinstance(message.get(key), str) and not (details and key.startswith("reasoning")):
            yield from ({key: piece} for piece in cut(message[key]))
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{**call, "index": index, "function": function}]}
        for piece in cut(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    if message.get("annotations"):
        yield {"annotations": message["annotations"]}


def chat_stream(answer: Json, cut: Cut) -> bytes:
    """Of the first choice."""
    choice = {key: value for key, value in answer["choices"][0].items() if key != "message"}
    head = {"object": "chat.completion.chunk"} | {
        key: answer[key] for key in ("id", "created", "model", "service_tier") if key in answer
    }
    said = [head | {"choices": [{"index": 0, "delta": delta}]} for delta in _chunks(answer, cut)]
    said.append(head | {"choices": [{**choice, "delta": {}}]})
    said.append(head | {"choices": [], "usage": answer.get("usage")})
    return b"".join([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in said]) + b"data: [DONE]\n\n"


def _deltas(block: Json, cut: Cut) -> Iterator[Json]:
    match block["type"]:
        case "text":
            yield from ({"type": "citations_delta", "citation": cited} for cited in block.get("citations") or ())
            yield from ({"type": "text_delta", "text": piece} for piece in cut(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":
            spelled = json.dumps(block["input"]) if block["input"] else ""
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in cut(spelled))


_BEGINS: dict[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


def messages_stream(answer: Json, cut: Cut) -> bytes:
    usage = answer["usage"]
    begun = {**answer, "content": [], "stop_reason": None, "stop_sequence": None}
    begun["usage"] = {**usage, "output_tokens": 1, "output_tokens_details": None}
    said: list[Json] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(answer["content"]):
        begins = {key: value for key, value in block.items() if key != "citations"} | _BEGINS.get(block["type"], {})
        said.append({"type": "content_block_start", "index": index, "content_block": begins})
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(block, cut)]
        said.append({"type": "content_block_stop", "index": index})
    delta = {key: answer.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    said += [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]
    return b"".join([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in said])


def cutter(places: list[int]) -> Cut:
    """Cuts every text at these places; each text of some length is two pieces at least."""

    def cut(text: str) -> list[str]:
        at = sorted({0, len(text), *[place % (len(text) + 1) for place in places]})
        return [text[start:end] for start, end in pairwise(at)]

    return cut
