"""What applications do with the `google-genai` package for Python, through a gateway to a replay provider.

    GOOGLE_GEMINI_BASE_URL=… GEMINI_API_KEY=… python -m tests.sdks.python.gemini_suite [case …]

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

from google import genai
from google.genai import errors, types

Seen = dict[str, Any]

MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"
GREETING = "Say hello."
PIXEL = b"\x89PNG\r\n\x1a\n"
WEATHER = types.FunctionDeclaration(
    name="get_weather",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris"]}},
        "required": ["city"],
    },
)


def answer_seen(answer: Any) -> Seen:
    (candidate,) = answer.candidates
    parts = candidate.content.parts or []
    return {
        "id": answer.response_id,
        "finish_reason": candidate.finish_reason,
        "text": "".join(part.text for part in parts if part.text and not part.thought),
        "thought": "".join(part.text for part in parts if part.text and part.thought),
        "calls": [{"name": call.name, "args": call.args} for call in answer.function_calls or ()],
        "usage": answer.usage_metadata.model_dump(exclude_none=True, mode="json"),
    }


def stream_seen(chunks: list[Any]) -> Seen:
    parts = [part for chunk in chunks for part in (chunk.candidates[0].content.parts or [])]
    return {
        "chunks": len(chunks),
        "id": chunks[-1].response_id,
        "finish_reason": chunks[-1].candidates[0].finish_reason,
        "text": "".join(part.text for part in parts if part.text and not part.thought),
        "thought": "".join(part.text for part in parts if part.text and part.thought),
        "calls": [
            {"name": part.function_call.name, "args": part.function_call.args} for part in parts if part.function_call
        ],
        "usage": chunks[-1].usage_metadata.model_dump(exclude_none=True, mode="json"),
    }


def failure(call: Callable[[], object]) -> Seen:
    try:
        call()
    except errors.APIError as error:
        told = error.details["error"] if isinstance(error.details, dict) else {}
        details = told.get("details") or [{}]
        return {
            "raised": type(error).__name__,
            "code": error.code,
            "status": error.status,
            "message": error.message,
            "reason": details[0].get("reason"),
            "metadata": details[0].get("metadata"),
        }
    raise AssertionError("the call succeeded")


def config(case: str, directions: dict[str, object] | None = None, **fields: Any) -> Any:
    headers = {"x-case": case}
    headers |= {f"x-replay-{name.replace('_', '-')}": str(value) for name, value in (directions or {}).items()}
    return {"max_output_tokens": 300, "http_options": {"headers": headers}, **fields}


def generate(client: genai.Client, case: str, **fields: Any) -> Any:
    model, contents = fields.pop("model", MODEL), fields.pop("contents", GREETING)
    return client.models.generate_content(model=model, contents=contents, config=config(case, **fields))


def generate_stream(client: genai.Client, case: str, **fields: Any) -> Any:
    return client.models.generate_content_stream(model=MODEL, contents=GREETING, config=config(case, **fields))


# --- answers ----------------------------------------------------------------------------------------------------------


def whole(client: genai.Client) -> Seen:
    return answer_seen(generate(client, "whole"))


def stream(client: genai.Client) -> Seen:
    return stream_seen(list(generate_stream(client, "stream")))


def async_client(client: genai.Client) -> Seen:
    async def both() -> Seen:
        answer = await client.aio.models.generate_content(model=MODEL, contents=GREETING, config=config("async_client"))
        chunks = await client.aio.models.generate_content_stream(
            model=MODEL, contents=GREETING, config=config("async_client")
        )
        return {"whole": answer_seen(answer), "streamed": stream_seen([chunk async for chunk in chunks])}

    return asyncio.run(both())


def beta(client: genai.Client) -> Seen:
    """The version of the API that was the SDK's own before its third."""
    with genai.Client(http_options=types.HttpOptions(api_version="v1beta")) as other:
        names = [model.name for model in other.models.list()]
        return {**stream_seen(list(generate_stream(other, "beta"))), "names": names}


def chat(client: genai.Client) -> Seen:
    """The SDK's own memory of a conversation."""
    talk = client.chats.create(model=MODEL, config=config("chat"))
    first = answer_seen(talk.send_message("Say hello."))
    return {"first": first, "second": answer_seen(talk.send_message("And again."))}


def tool_use(client: genai.Client) -> Seen:
    """The whole conversation: the model calls, the application answers, the model speaks."""
    tools = [types.Tool(function_declarations=[WEATHER])]
    asked = generate(client, "tool_use", tools=tools)
    result = types.Part.from_function_response(name="get_weather", response={"result": "18 °C"})
    conversation = [
        types.Content(role="user", parts=[types.Part.from_text(text=GREETING)]),
        asked.candidates[0].content,
        types.Content(role="user", parts=[result]),
    ]
    return {
        "asked": answer_seen(asked),
        "answered": answer_seen(generate(client, "tool_use", contents=conversation, tools=tools)),
    }


def stream_tool_use(client: genai.Client) -> Seen:
    tools = [types.Tool(function_declarations=[WEATHER])]
    return stream_seen(list(generate_stream(client, "stream_tool_use", tools=tools)))


def automatic_tool_use(client: genai.Client) -> Seen:
    """A function of the application's own, which the SDK calls."""

    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"18 °C in {city}"

    return answer_seen(generate(client, "automatic_tool_use", tools=[get_weather]))


def thinking(client: genai.Client) -> Seen:
    directions: dict[str, object] = {"output_tokens": 20, "reasoning_tokens": 8, "reasoning_text": "yes"}
    thoughts = types.ThinkingConfig(include_thoughts=True, thinking_budget=64)
    return stream_seen(list(generate_stream(client, "thinking", directions=directions, thinking_config=thoughts)))


def json_schema(client: genai.Client) -> Seen:
    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris"]}}, "required": ["city"]}
    answer = generate(
        client,
        "json_schema",
        response_mime_type="application/json",
        response_json_schema=schema,
        system_instruction="x",
    )
    return {**answer_seen(answer), "parsed": json.loads(answer.text)}


def image_in_the_body(client: genai.Client) -> Seen:
    contents = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), "What is this?"]
    return answer_seen(generate(client, "image_in_the_body", contents=contents))


def cached(client: genai.Client) -> Seen:
    """The provider's own cache, which it uses unasked."""
    return answer_seen(generate(client, "cached", directions={"prompt_tokens": 100, "cached_tokens": 30}))


def headers(client: genai.Client) -> Seen:
    """What a call cost is in the headers of its answer."""
    answer = generate(client, "headers")
    told = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
    return {**answer_seen(answer), "headers": {name: told[name] for name in told if "tollgate" in name}}


def embed(client: genai.Client) -> Seen:
    directions = {"http_options": {"headers": {"x-replay-prompt-tokens": "30", "x-case": "embed"}}}
    answer = client.models.embed_content(
        model=EMBEDDER, contents=["one", "two"], config={**directions, "task_type": "RETRIEVAL_QUERY"}
    )
    return {"vectors": [len(embedding.values) for embedding in answer.embeddings]}


def count_tokens(client: genai.Client) -> Seen:
    options = {"http_options": {"headers": {"x-replay-prompt-tokens": "42"}}}
    return {"total_tokens": client.models.count_tokens(model=MODEL, contents=GREETING, config=options).total_tokens}


def models(client: genai.Client) -> Seen:
    return {
        "names": [model.name for model in client.models.list(config={"page_size": 10})],
        "retrieved": client.models.get(model=MODEL).name,
        "unknown": failure(lambda: client.models.get(model="no-such-model")),
    }


# --- errors -----------------------------------------------------------------------------------------------------------


def wrong_key(client: genai.Client) -> Seen:
    other = genai.Client(api_key="tg-not-a-key")
    return failure(lambda: generate(other, "wrong_key"))


def unknown_model(client: genai.Client) -> Seen:
    return failure(lambda: generate(client, "unknown_model", model="no-such-model"))


def unknown_action(client: genai.Client) -> Seen:
    """What is stored at the provider is not there: it would be everybody's."""
    return failure(lambda: client.files.get(name="files/abc"))


def malformed(client: genai.Client) -> Seen:
    return failure(lambda: generate(client, "malformed", candidate_count=100_000))


def stored_file(client: genai.Client) -> Seen:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    part = types.Part.from_uri(file_uri=uri, mime_type="video/mp4")
    return failure(lambda: generate(client, "stored_file", contents=[part]))


def upstream_status(client: genai.Client) -> Seen:
    """What a provider answers is what the application gets."""

    def asked(status: int) -> Seen:
        return failure(lambda: generate(client, "upstream_status", directions={"status": status}))

    return {str(status): asked(status) for status in (400, 404, 429, 500, 503)}


def upstream_refuses_the_operator(client: genai.Client) -> Seen:
    case = "upstream_refuses_the_operator"
    return failure(lambda: generate(client, case, directions={"status": 401}))


def broken_stream(client: genai.Client, case: str, **directions: object) -> Seen:
    texts: list[str] = []

    def read() -> None:
        for chunk in generate_stream(client, case, directions={"output_tokens": 20, **directions}):
            texts.append(chunk.text or "")  # noqa: PERF401 - what came before the error counts

    error = failure(read)
    return {"text": "".join(texts), "error": error}


def error_in_the_stream(client: genai.Client) -> Seen:
    return broken_stream(client, "error_in_the_stream", error_event=5)


def stream_breaks(client: genai.Client) -> Seen:
    """The provider hangs up in mid-stream: that must never look like the end of an answer."""
    return broken_stream(client, "stream_breaks", **{"break": 5})


def stream_breaks_async(client: genai.Client) -> Seen:
    texts: list[str | None] = []

    async def read() -> None:
        settings = config("stream_breaks_async", {"output_tokens": 20, "break": 5})
        chunks = await client.aio.models.generate_content_stream(model=MODEL, contents=GREETING, config=settings)
        async for chunk in chunks:
            texts.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    error = failure(lambda: asyncio.run(read()))
    return {"text": "".join(text or "" for text in texts), "error": error}


# --- credits ----------------------------------------------------------------------------------------------------------


def out_of_credits(client: genai.Client) -> Seen:
    """402 RESOURCE_EXHAUSTED: retrying cannot help, and an SDK that is told to retry does not."""
    options = types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=3, initial_delay=0.01))
    with genai.Client(api_key=os.environ["BROKE_API_KEY"], http_options=options) as broke:
        return failure(lambda: generate(broke, "out_of_credits"))


CASES: dict[str, Callable[[genai.Client], Seen]] = {
    case.__name__: case
    for case in (
        *(
            whole,
            stream,
            async_client,
            beta,
            chat,
            tool_use,
            stream_tool_use,
            automatic_tool_use,
            thinking,
            json_schema,
        ),
        *(image_in_the_body, cached, headers, embed, count_tokens, models),
        *(wrong_key, unknown_model, unknown_action, malformed, stored_file, upstream_status),
        *(upstream_refuses_the_operator, error_in_the_stream, stream_breaks, stream_breaks_async, out_of_credits),
    )
}


def main(names: list[str]) -> None:
    seen: dict[str, Seen] = {"sdk": {"version": genai.__version__}}
    for name in names or CASES:
        try:
            with genai.Client() as client:
                seen[name] = CASES[name](client)
        except Exception:  # noqa: BLE001 - the other cases are still worth seeing
            seen[name] = {"crashed": traceback.format_exc()}
    print(json.dumps(seen, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
