"""Writes gateway/replay/recordings/anthropic-messages.jsonl and anthropic-count-tokens.jsonl: invented talk in the
shapes that Anthropic's API answers in.

Run it after a change: python -m tests.replay.make_own_messages. A test holds files and script together.
"""

import json
from typing import Any, Final

from gateway.replay.recordings import COUNTS, MESSAGES, OWN_RECORDINGS

MODEL: Final = "claude-haiku-4-5"
TOOLS: Final = [
    {
        "name": "tide_at",
        "description": "High and low water at a harbour.",
        "input_schema": {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
    }
]
CACHED: Final = [
    {"type": "text", "text": "You keep the tide tables.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
]


def asked(content: object, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 300, "messages": [{"role": "user", "content": content}], "model": MODEL, **fields}


def usage(prompt: int, output: int, **more: Any) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
        "service_tier": "standard",
        **more,
    }


def row(id: str, kind: str, request: dict[str, Any], status: int, content_type: str, body: str) -> dict[str, Any]:
    return {
        "id": f"own-{id}",
        "kind": kind,
        "host": "api.example",
        "path": "/v1/messages" if kind == MESSAGES else "/v1/messages/count_tokens",
        "request": request,
        "status": status,
        "headers": {"content-type": content_type},
        "body": body,
        "source": "invented",
    }


def envelope(id: str, content: list[Any], stop: str | None, used: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_own_{id}",
        "type": "message",
        "role": "assistant",
        "model": f"{MODEL}-20260101",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": used,
    }


def whole(id: str, request: dict[str, Any], content: list[Any], stop: str, used: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(envelope(id, content, stop, used), ensure_ascii=False)
    return row(id, MESSAGES, {**request, "stream": False}, 200, "application/json", body)


def streamed(id: str, request: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    return row(id, MESSAGES, {**request, "stream": True}, 200, "text/event-stream; charset=utf-8", body)


def block(index: int, opened: dict[str, Any], deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": opened},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def begun(id: str, used: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message_start", "message": envelope(id, [], None, used)}


def ended(stop: str, used: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": used},
        {"type": "message_stop"},
    ]


def texts(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "text_delta", "text": piece} for piece in pieces]


def messages() -> list[dict[str, Any]]:
    spoken = [{"type": "text", "text": "High water is at noon, and the owl knows it. 🌊"}]
    call = {"type": "tool_use", "id": "toolu_own_1", "name": "tide_at", "input": {"harbour": "Husum"}}
    kinds = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 900}
    written = usage(20, 12, cache_creation_input_tokens=1000, cache_read_input_tokens=2000, cache_creation=kinds)
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    unknown = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-none"}}
    corrected = [
        begun("corrected", usage(40, 1)),
        *block(0, {"type": "text", "text": ""}, texts("Let me ", "look.")),
        *block(
            1,
            {"type": "tool_use", "id": "toolu_own_2", "name": "tide_at", "input": {}},
            [{"type": "input_json_delta", "partial_json": part} for part in ("", '{"harbour": ', '"Hörnum"}')],
        ),
        *ended("tool_use", {"input_tokens": 95, "output_tokens": 31, "cache_read_input_tokens": None}),
    ]
    thought = [
        {"type": "thinking_delta", "thinking": "Noon, says the table."},
        {"type": "signature_delta", "signature": "c2lnbmVk"},
    ]
    thinking = [
        begun("thinking", written),
        {"type": "ping"},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}, thought),
        *block(1, {"type": "text", "text": ""}, texts("At ", "noon.")),
        *ended("end_turn", {"output_tokens": 44, "output_tokens_details": {"thinking_tokens": 30}}),
    ]
    failing = [begun("failing", usage(30, 1)), *block(0, {"type": "text", "text": ""}, texts("At "))[:2], overloaded]
    budget = {"type": "enabled", "budget_tokens": 1024}
    return [
        whole("message", asked("When is high water?"), spoken, "end_turn", usage(14, 18)),
        whole("message-tool", asked("And in Husum?", tools=TOOLS), [call], "tool_use", usage(410, 27)),
        whole("message-cached", asked("And tomorrow?", system=CACHED), spoken, "end_turn", written),
        streamed("message-corrected", asked("And in Hörnum?", tools=TOOLS), corrected),
        streamed("message-thinking", asked("Think first.", max_tokens=2000, thinking=budget, system=CACHED), thinking),
        streamed("message-failing", asked("Are you there?"), failing),
        row("message-unknown", MESSAGES, asked("Who?"), 404, "application/json", json.dumps(unknown)),
    ]


def counts() -> list[dict[str, Any]]:
    request = {"messages": [{"role": "user", "content": "How long is this?"}], "model": MODEL}
    return [row("count", COUNTS, request, 200, "application/json", json.dumps({"input_tokens": 13}))]


FILES: Final = {
    OWN_RECORDINGS / "anthropic-messages.jsonl": messages,
    OWN_RECORDINGS / "anthropic-count-tokens.jsonl": counts,
}


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in rows)


if __name__ == "__main__":
    for file, rows in FILES.items():
        file.write_text(lines(rows()), encoding="utf-8")
