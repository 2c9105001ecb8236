"""Writes gateway/replay/recordings/openai-chat.jsonl: invented talk in the shapes that OpenAI's API answers in.

Run it after a change: python -m tests.replay.make_own_recordings. A test holds file and script together.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from gateway.replay.recordings import OWN_RECORDINGS

FILE: Final = OWN_RECORDINGS / "openai-chat.jsonl"
CREATED: Final = 1_767_225_600
PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
JSON_HEADERS: Final = {"content-type": "application/json", "openai-processing-ms": "412"}
SSE_HEADERS: Final = {"content-type": "text/event-stream; charset=utf-8", "openai-processing-ms": "187"}
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "tide_at",
            "description": "High and low water at a harbour on a day.",
            "parameters": {
                "type": "object",
                "properties": {"harbour": {"type": "string"}, "day": {"type": "string", "format": "date"}},
                "required": ["harbour", "day"],
                "additionalProperties": False,
            },
        },
    }
]


def user(content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def usage(prompt: int, output: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def row(id: str, request: dict[str, Any], status: int, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {
        "id": f"own-{id}",
        "kind": "openai-chat",
        "host": "api.example",
        "path": "/v1/chat/completions",
        "request": request,
        "status": status,
        "headers": headers,
        "body": body,
        "source": "invented",
    }


def whole(
    id: str, request: dict[str, Any], messages: list[dict[str, Any]], used: dict[str, Any], finish: str = "stop"
) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": None, "refusal": None, "annotations": [], **message},
            "logprobs": None,
            "finish_reason": finish,
        }
        for index, message in enumerate(messages)
    ]
    answer = {
        "id": f"chatcmpl-own-{id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": f"{request['model']}-2026-01-01",
        "choices": choices,
        "usage": used,
        "service_tier": "default",
        "system_fingerprint": "fp_own",
    }
    return row(id, {**request, "stream": False}, 200, JSON_HEADERS, json.dumps(answer, indent=2, ensure_ascii=False))


def streamed(
    id: str,
    request: dict[str, Any],
    deltas: Iterable[dict[str, Any]],
    used: dict[str, Any] | None,
    finish: str = "stop",
    line_end: str = "\n",
    last: list[str] | None = None,
) -> dict[str, Any]:
    def event(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> str:
        chunk: dict[str, Any] = {
            "id": f"chatcmpl-own-{id}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": f"{request['model']}-2026-01-01",
            "service_tier": "default",
            "system_fingerprint": "fp_own",
            "choices": choices,
        }
        if used is not None:
            chunk["usage"] = usage
        return "data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False)

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    events = [event(choice({"role": "assistant", "content": "", "refusal": None}))]
    events += [event(choice(delta)) for delta in deltas]
    if last is None:
        events.append(event(choice({}, finish)))
        if used is not None:
            events.append(event([], used))
        last = ["data: [DONE]"]
    events += last
    asked: dict[str, Any] = {**request, "stream": True}
    if used is not None:
        asked["stream_options"] = {"include_usage": True}
    return row(id, asked, 200, SSE_HEADERS, "".join(each + line_end * 2 for each in events))


def failed(
    id: str, request: dict[str, Any], status: int, error: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    body = json.dumps({"error": {"message": "", "type": "", "param": None, "code": None, **error}}, indent=2)
    return row(id, {**request, "stream": False}, status, {**JSON_HEADERS, **(headers or {})}, body)


def spoken(text: str) -> list[dict[str, Any]]:
    """A delta a word, the space before it included."""
    words = text.split(" ")
    return [{"content": words[0]}, *({"content": f" {word}"} for word in words[1:])]


def call(index: int, id: str, arguments: str) -> list[dict[str, Any]]:
    function = {"name": "tide_at", "arguments": ""}
    opened = {"index": index, "id": id, "type": "function", "function": function}
    pieces = [arguments[at : at + 7] for at in range(0, len(arguments), 7)]
    rest = [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    return [{"tool_calls": [opened]}, *rest]


HARBOUR_TALE: Final = (
    "The harbour wakes before the town does. First the gulls, who hold their meeting on the fish hall's roof and pass "
    "no resolution. Then the ferry's engine, which coughs twice, thinks about it, and coughs again. Old Marit unlocks "
    "the ticket booth, hangs her coat on the nail that her mother hammered in, and counts the coins in the drawer "
    "although nobody has paid with coins for years. At half past five the baker's van comes down the hill with its "
    "lights off to save the battery, and the driver sings so that the dogs know it is only him. By six the first cars "
    "stand in a row on the quay, and the water, which has seen all of this some forty thousand times, lies there as if "
    "it had not noticed a thing."
)
RULES: Final = (
    "You are the harbour office. Answer in one sentence. " + "Mind the rule book, paragraph by paragraph. " * 150
)
TIDES: Final = '{"harbour":"Vik","day":"2026-01-02"}'


def chats() -> list[dict[str, Any]]:
    mini, big = {"model": "gpt-4o-mini"}, {"model": "gpt-4o"}
    asked_tides = user("When is high water at Vik and at Nes tomorrow, the 2nd of January 2026?")
    made_call = {"id": "call_own_1", "type": "function", "function": {"name": "tide_at", "arguments": TIDES}}
    picture = [{"type": "text", "text": "What colour is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    count = {"type": "object", "properties": {"boats": {"type": "integer"}}, "required": ["boats"]}
    schema = {"name": "count", "strict": True, "schema": {**count, "additionalProperties": False}}
    return [
        whole("chat", {**mini, "messages": user("Which bird sleeps in the booth?")}, [
            {"content": "The owl; it pays no rent."}], usage(14, 9)),
        whole("two-choices", {**mini, "n": 2, "messages": user("Name a boat.")}, [
            {"content": "Second Thoughts"}, {"content": "Fair Enough"}], usage(11, 6)),
        whole("length", {**mini, "max_completion_tokens": 5, "messages": user("Count to twenty.")}, [
            {"content": "One, two, three"}], usage(12, 5), finish="length"),
        streamed("long-stream", {**big, "messages": user("Tell me about a harbour in the morning.")},
                 spoken(HARBOUR_TALE), usage(16, 171)),
        streamed("stream-without-usage", {**mini, "messages": user("Say good night to the boats.")},
                 spoken("Good night, boats. Keep your ropes and your tempers short."), None),
        streamed("stream-crlf", {**mini, "messages": user("Grüße den Hafen auf Japanisch 🌊")},
                 spoken("港さん、 おはよう! 🌊⚓ Schöne Grüße, naïve Möwe 👩‍👩‍👧 dort."), usage(19, 31),
                 line_end="\r\n"),
        whole("tools", {**big, "messages": user("When is high water at Vik tomorrow, the 2nd of January 2026?"),
                        "tools": TOOLS, "tool_choice": "auto"},
              [{"tool_calls": [made_call]}], usage(78, 24), finish="tool_calls"),
        streamed("parallel-tools-stream", {**big, "messages": asked_tides, "tools": TOOLS, "parallel_tool_calls": True},
                 [*call(0, "call_own_2", TIDES), *call(1, "call_own_3", TIDES.replace("Vik", "Nes"))],
                 usage(81, 53), finish="tool_calls"),
        whole("tools-answer", {**big, "tools": TOOLS, "messages": [
            *asked_tides, {"role": "assistant", "content": None, "tool_calls": [made_call]},
            {"role": "tool", "tool_call_id": "call_own_1", "content": '{"high":["04:12","16:39"]}'}]},
            [{"content": "At Vik high water is at 04:12 and at 16:39."}], usage(121, 17)),
        whole("json-mode", {**mini, "messages": user("Which flags fly today? Answer in JSON."),
                            "response_format": {"type": "json_object"}},
              [{"content": '{"flags":["blue","white and green"],"half_mast":false}'}], usage(22, 19)),
        whole("json-schema", {**big, "messages": user("Five boats left, two came back, there were nine."),
                              "response_format": {"type": "json_schema", "json_schema": schema}},
              [{"content": '{"boats":6}'}], usage(61, 5)),
        whole("vision", {**big, "messages": user(picture)}, [{"content": "A single dark red pixel."}], usage(268, 7)),
        whole("cached", {**big, "messages": [{"role": "system", "content": RULES}, *user("May I moor here?")]},
              [{"content": "Yes, until the evening ferry."}], usage(1378, 8, cached=1280)),
        whole("reasoning", {"model": "gpt-5-mini", "reasoning_effort": "low", "max_completion_tokens": 900,
                            "messages": user("Three knots against one knot of tide: how far in two hours?")},
              [{"content": "Four nautical miles."}], usage(24, 150, reasoning=128)),
        streamed("reasoning-stream", {"model": "gpt-5-mini", "messages": user("Is 221 prime? Answer in a word.")},
                 spoken("No: thirteen times seventeen."), usage(18, 266, reasoning=256)),
        failed("context-length", {**mini, "messages": user("(imagine a very long book here)")}, 400, {
            "message": "This model's maximum context length is 128000 tokens, and this book has more.",
            "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}),
        failed("model-not-found", {"model": "gpt-9-imaginary", "messages": user("Hello?")}, 404, {
            "message": "The model `gpt-9-imaginary` does not exist or you do not have access to it.",
            "type": "invalid_request_error", "code": "model_not_found"}),
        failed("rate-limited", {**mini, "messages": user("Quick, quick, quick!")}, 429, {
            "message": "Rate limit reached for requests per minute. Please try again in 2s.",
            "type": "requests", "code": "rate_limit_exceeded"}, {"retry-after": "2"}),
        failed("server-error", {**mini, "messages": user("Are you well?")}, 500, {
            "message": "The server had an error while processing your request.", "type": "server_error"}),
        streamed("error-event", {**mini, "messages": user("Tell me a story without an end.")},
                 spoken("Once upon a time there was a lighthouse that"), None, last=[
                     'data: {"error":{"message":"The server had an error while processing your request.",'
                     '"type":"server_error","param":null,"code":null}}']),
    ]  # fmt: skip


def lines() -> str:
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in chats())


if __name__ == "__main__":
    FILE.write_text(lines(), encoding="utf-8")
