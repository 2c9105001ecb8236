"""What applications do with the `anthropic` package for Python, through a gateway to a replay provider.

    ANTHROPIC_BASE_URL=… ANTHROPIC_API_KEY=… python -m tests.sdks.python.anthropic_suite [case …]

prints one JSON object: for each case what the application saw. The `x-replay-…` headers direct the replay provider;
an application of yours sends none. Cases about credits want a key of their own, in the environment variable they name.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic import Anthropic, APIError, AsyncAnthropic

Seen = dict[str, Any]

MODEL = "claude-haiku-4-5"
GREETING: Any = [{"role": "user", "content": "Say hello."}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {
        "name": name,
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": [city]}},
            "required": ["city"],
        },
    }
    for name, city in (("get_weather", "Paris"), ("get_time", "Lima"))
]


def message_seen(message: Any) -> Seen:
    return {
        "id": message.id,
        "request_id": getattr(message, "_request_id", None),
        "stop_reason": message.stop_reason,
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "thinking": "".join(block.thinking for block in message.content if block.type == "thinking"),
        "tools": [{"name": block.name, "input": block.input} for block in message.content if block.type == "tool_use"],
        "usage": message.usage.model_dump(),
    }


def failure(call: Callable[[], object]) -> Seen:
    try:
        call()
    except APIError as error:
        body = error.body if isinstance(error.body, dict) else {}
        told = body.get("error") or {}
        return {
            "raised": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "request_id": getattr(error, "request_id", None),
            "type": told.get("type"),
            "code": told.get("code"),
            "message": told.get("message", str(error)),
            "metadata": told.get("metadata"),
        }
    raise AssertionError("the call succeeded")


def replay(**directions: object) -> dict[str, str]:
    return {f"x-replay-{name.replace('_', '-')}": str(value) for name, value in directions.items()}


def create(client: Anthropic, **options: Any) -> Any:
    return client.messages.create(**{"model": MODEL, "max_tokens": 300, "messages": GREETING, **options})


# --- answers ----------------------------------------------------------------------------------------------------------


def message(client: Anthropic) -> Seen:
    return message_seen(create(client))


def stream(client: Anthropic) -> Seen:
    """Event by event."""
    events = list(create(client, stream=True))
    texts = [event.delta.text for event in events if event.type == "content_block_delta"]
    return {"types": [event.type for event in events], "text": "".join(texts)}


def stream_helper(client: Anthropic) -> Seen:
    """The SDK's own accumulator."""
    with client.messages.stream(model=MODEL, max_tokens=300, messages=GREETING) as events:
        texts = list(events.text_stream)
        return {**message_seen(events.get_final_message()), "pieces_join": "".join(texts)}


def async_client(client: Anthropic) -> Seen:
    async def both() -> Seen:
        async with AsyncAnthropic(default_headers={"x-case": "async_client"}) as other:
            whole = await other.messages.create(model=MODEL, max_tokens=300, messages=GREETING)
            async with other.messages.stream(model=MODEL, max_tokens=300, messages=GREETING) as events:
                return {"whole": message_seen(whole), "streamed": message_seen(await events.get_final_message())}

    return asyncio.run(both())


def bearer(client: Anthropic) -> Seen:
    """The key as a token, as agents in terminals send it."""
    with Anthropic(api_key=None, auth_token=os.environ["ANTHROPIC_API_KEY"]) as other:
        return message_seen(create(other.with_options(default_headers={"x-api-key": anthropic.Omit()})))


def tool_use(client: Anthropic) -> Seen:
    """The whole conversation: the model calls, the application answers, the model speaks."""
    asked = create(client, tools=TOOLS)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "18 °C"}
        for block in asked.content
        if block.type == "tool_use"
    ]
    said = [block.model_dump(exclude_none=True) for block in asked.content]
    conversation = [*GREETING, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
    return {
        "asked": message_seen(asked),
        "answered": message_seen(create(client, tools=TOOLS, messages=conversation)),
    }


def stream_tool_use(client: Anthropic) -> Seen:
    headers = replay(tool_calls=2)
    with client.messages.stream(
        model=MODEL, max_tokens=300, messages=GREETING, tools=TOOLS, extra_headers=headers
    ) as events:
        return message_seen(events.get_final_message())


def thinking(client: Anthropic) -> Seen:
    with client.messages.stream(
        model=MODEL,
        max_tokens=3000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=GREETING,
        extra_headers=replay(output_tokens=20, reasoning_tokens=8, reasoning_text="yes"),
    ) as events:
        return message_seen(events.get_final_message())


def image_in_the_body(client: Anthropic) -> Seen:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    return message_seen(create(client, messages=[{"role": "user", "content": content}]))


def cached(client: Anthropic) -> Seen:
    """A system prompt that is kept for an hour."""
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    headers = replay(prompt_tokens=100, cached_tokens=30, cache_write_tokens=50, cache_write_1h_tokens=40)
    return message_seen(create(client, system=system, extra_headers=headers))


def raw_response(client: Anthropic) -> Seen:
    """What a call cost is in the headers of its answer."""
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=300, messages=GREETING)
    headers = {name: value for name, value in raw.headers.items() if "request-id" in name or "tollgate" in name}
    return {**message_seen(raw.parse()), "headers": headers}


def count_tokens(client: Anthropic) -> Seen:
    counted = client.messages.count_tokens(model=MODEL, messages=GREETING, extra_headers=replay(prompt_tokens=42))
    return {"input_tokens": counted.input_tokens}


def models(client: Anthropic) -> Seen:
    return {
        "ids": [model.id for model in client.models.list(limit=3)],
        "retrieved": client.models.retrieve(MODEL).id,
        "unknown": failure(lambda: client.models.retrieve("no-such-model")),
    }


# --- errors -----------------------------------------------------------------------------------------------------------


def wrong_key(client: Anthropic) -> Seen:
    return failure(lambda: create(client.with_options(api_key="tg-not-a-key")))


def unknown_model(client: Anthropic) -> Seen:
    return failure(lambda: create(client, model="no-such-model"))


def malformed(client: Anthropic) -> Seen:
    return failure(lambda: create(client, messages=[]))


def upstream_status(client: Anthropic) -> Seen:
    """What a provider answers is what the application gets: the SDK's exception for each status."""
    once = client.with_options(max_retries=0)
    return {
        str(status): failure(lambda status=status: create(once, extra_headers=replay(status=status)))  # type: ignore[misc]
        for status in (400, 404, 413, 429, 500, 529)
    }


def upstream_refuses_the_operator(client: Anthropic) -> Seen:
    return failure(lambda: create(client, extra_headers=replay(status=401)))


def broken_stream(client: Anthropic, **directions: object) -> Seen:
    texts: list[str] = []

    def read() -> None:
        for event in create(client, stream=True, extra_headers=replay(output_tokens=20, **directions)):
            if event.type == "content_block_delta":
                texts.append(event.delta.text)  # noqa: PERF401 - what came before the error counts

    error = failure(read)
    return {"text": "".join(texts), "error": error}


def error_in_the_stream(client: Anthropic) -> Seen:
    return broken_stream(client, error_event=5)


def stream_breaks(client: Anthropic) -> Seen:
    """The provider hangs up in mid-stream: that must never look like the end of an answer."""
    return broken_stream(client, **{"break": 5})


# --- credits ----------------------------------------------------------------------------------------------------------


def out_of_credits(client: Anthropic) -> Seen:
    """402 billing_error: retrying cannot help, and the SDK with its usual settings does not."""
    return failure(lambda: create(client.with_options(api_key=os.environ["BROKE_API_KEY"])))


def busy_until_a_call_ends(client: Anthropic) -> Seen:
    """402 credits_reserved: the first refusal makes this application end its other call; then the retry succeeds."""
    refused: list[int] = []
    ours = client.with_options(api_key=os.environ["BUSY_API_KEY"], max_retries=5)
    other = create(ours, max_tokens=1000, stream=True, extra_headers=replay(output_tokens=9, hang=3))
    next(other)

    def end_the_other(response: Any) -> None:
        if response.status_code == 402:
            refused.append(response.status_code)
            other.close()

    hooked = anthropic.DefaultHttpxClient(event_hooks={"response": [end_the_other]})
    seen = message_seen(create(ours.with_options(http_client=hooked), max_tokens=1000))
    return {**seen, "refused": len(refused)}


CASES: dict[str, Callable[[Anthropic], Seen]] = {
    case.__name__: case
    for case in (
        *(message, stream, stream_helper, async_client, bearer, tool_use, stream_tool_use, thinking),
        *(image_in_the_body, cached, raw_response, count_tokens, models),
        *(wrong_key, unknown_model, malformed, upstream_status, upstream_refuses_the_operator),
        *(error_in_the_stream, stream_breaks, out_of_credits, busy_until_a_call_ends),
    )
}


def main(names: list[str]) -> None:
    seen: dict[str, Seen] = {"sdk": {"version": anthropic.__version__}}
    with Anthropic() as client:
        for name in names or CASES:
            try:
                seen[name] = CASES[name](client.with_options(default_headers={"x-case": name}))
            except Exception:  # noqa: BLE001 - the other cases are still worth seeing
                seen[name] = {"crashed": traceback.format_exc()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
