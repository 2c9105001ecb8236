"""Streams put together as the providers' own SDKs do it, by their documented rules: what a client ends up with."""

import json
from typing import Any

from gateway.core.sse import SseEvent, SseParser


def events(stream: bytes) -> list[SseEvent]:
    parser = SseParser()
    found = parser.feed(stream)
    assert parser.tail == b"", "a translator writes whole events"
    return found


def completion(stream: bytes) -> dict[str, Any]:
    """A chat completion out of its chunks. `finish_reason` is None where the stream ended early."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    message: dict[str, Any] = {}
    whole: dict[str, Any] = {"choices": [choice], "done": False}
    for event in events(stream):
        if event.data is None:
            continue
        assert not whole["done"], "nothing follows [DONE]"
        if event.data == b"[DONE]":
            whole["done"] = True
            continue
        chunk = json.loads(event.data)
        for key in ("id", "model", "created"):
            assert whole.setdefault(key, chunk[key]) == chunk[key]
        whole |= {key: chunk[key] for key in ("usage", "error", "service_tier") if chunk.get(key) is not None}
        for part in chunk.get("choices", ()):
            assert choice["finish_reason"] is None, "the finish reason comes last"
            _add(message, part["delta"])
            choice |= {key: value for key, value in part.items() if key != "delta"}
    choice["message"] = message
    return whole


def _add(known: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        before = known.get(key)
        if (before is None and not _is_indexed(value)) or key in ("index", "type"):
            known[key] = value
        elif isinstance(before, str):
            known[key] = before + value
        elif isinstance(before, dict):
            _add(before, value)
        else:
            entries = known.setdefault(key, [])
            for entry in value:
                assert entry["index"] <= len(entries), "indices rise one by one"
                if entry["index"] == len(entries):
                    entries.append({})
                _add(entries[entry["index"]], entry)


def _is_indexed(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(entry, dict) and "index" in entry for entry in value)


def message(stream: bytes) -> dict[str, Any]:
    """A message out of its events. `stop_reason` is None where the stream ended early."""
    whole: dict[str, Any] | None = None
    inputs: dict[int, str] = {}
    open_block: int | None = None
    done = False
    for event in events(stream):
        assert event.data is not None
        data = json.loads(event.data)
        assert event.event == data["type"], "the event is named as its data is"
        assert not done, "nothing follows message_stop"
        match data["type"]:
            case "ping":
                pass
            case "message_start":
                assert whole is None
                whole = data["message"]
            case "content_block_start":
                assert whole is not None
                assert open_block is None, "one block at a time"
                assert data["index"] == len(whole["content"])
                open_block = data["index"]
                whole["content"].append(data["content_block"])
            case "content_block_delta":
                assert whole is not None
                assert data["index"] == open_block
                _add_to_block(whole["content"][open_block], data["delta"], inputs, data["index"])
            case "content_block_stop":
                assert data["index"] == open_block
                open_block = None
            case "message_delta":
                assert whole is not None
                assert open_block is None
                whole |= data["delta"]
                whole["usage"] |= {key: value for key, value in data["usage"].items() if value is not None}
            case "message_stop":
                done = True
            case "error":
                whole = whole or {"content": [], "stop_reason": None}
                whole["error"] = data["error"]
            case other:
                raise AssertionError(other)
    assert whole is not None
    for index, spelled in inputs.items():
        try:
            whole["content"][index]["input"] = json.loads(spelled)
        except ValueError:
            whole["content"][index]["input"] = {"unfinished": spelled}
    return whole | {"done": done}


def _add_to_block(block: dict[str, Any], delta: dict[str, Any], inputs: dict[int, str], index: int) -> None:
    match block["type"], delta["type"]:
        case "text", "text_delta":
            block["text"] += delta["text"]
        case "text", "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
        case "tool_use", "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]
        case "thinking", "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "thinking", "signature_delta":
            block["signature"] = delta["signature"]
        case other:
            raise AssertionError(other)
