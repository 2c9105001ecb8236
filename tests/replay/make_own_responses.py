"""Writes the recordings of OpenAI's Responses dialect: invented answers, whole and streamed.

Run it after a change: python -m tests.replay.make_own_responses. A test holds file and script together.
"""

import json
from typing import Any, Final

from gateway.core.dialect import DialectName
from gateway.replay.recordings import OWN_RECORDINGS
from tests.replay.make_own_small import CREATED, lines, row

MODEL: Final = "gpt-4o-mini-2024-07-18"
FILE: Final = OWN_RECORDINGS / "openai-responses.jsonl"
PLACE: Final = {"item_id": "msg_own", "output_index": 0, "content_index": 0}


def usage(prompt: int, output: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + output,
    }


def response(output: list[dict[str, Any]], used: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_own",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": used,
        **fields,
    }


def message(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    told = {"id": "msg_own", "type": "message", "role": "assistant", "status": "completed", "content": content}
    return {**told, **fields}


def stream(pieces: list[str], end: str, **fields: Any) -> str:
    text = "".join(pieces)
    begun = response([], None, status="in_progress")
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": message("", content=[])},
        *({"type": "response.output_text.delta", **PLACE, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **PLACE, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": message(text)},
        {"type": f"response.{end}", "response": response([message(text)], status=end, **fields)},
    ]
    events = [{**event, "sequence_number": at} for at, event in enumerate(told)]
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each, ensure_ascii=False)}\n\n" for each in events)


def responses() -> list[dict[str, Any]]:
    asked = {"model": MODEL, "input": "When is high water?"}
    tool = {"type": "function", "name": "tide", "parameters": {"type": "object", "properties": {}}}
    call = {"id": "fc_own", "type": "function_call", "call_id": "call_own", "name": "tide", "arguments": "{}"}
    thought = {"id": "rs_own", "type": "reasoning", "summary": [], "encrypted_content": "b3du"}
    error = {
        "error": {"message": "no such effort", "type": "invalid_request_error", "param": "reasoning", "code": None}
    }
    short = {"incomplete_details": {"reason": "max_output_tokens"}, "used": usage(12, 16)}
    kind: DialectName = "openai-responses"
    rows = [
        row(kind, "response", asked, response([message("At noon.")], usage(12, 4))),
        row(kind, "response-call", {**asked, "tools": [tool]}, response([thought, call], usage(40, 30, reasoning=18))),
        row(kind, "response-refused", {**asked, "reasoning": {"effort": "vast"}}, error, status=400),
        row(
            kind,
            "response-stream",
            {**asked, "stream": True},
            stream(["At", " noon", ", or at “zwölf”", "."], "completed", used=usage(12, 9, cached=8)),
        ),
        row(
            kind,
            "response-short",
            {**asked, "stream": True, "max_output_tokens": 16},
            stream(["At noon of a day", " in a month of a year"], "incomplete", **short),
        ),
    ]
    for streamed in rows[3:]:
        streamed["headers"] = {"content-type": "text/event-stream; charset=utf-8"}
    return rows


FILES: Final = {FILE: responses}

if __name__ == "__main__":
    FILE.write_text(lines(responses()), encoding="utf-8")
