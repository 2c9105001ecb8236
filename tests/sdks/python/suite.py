"""What applications do with the `openai` package for Python, 1.x and newest, through a gateway to a replay provider.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m tests.sdks.python.suite [case …]

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

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.sdks.python.seen import Seen, chunks_seen, completion_seen, failure, tollgate_headers

MODEL = "gpt-4o-mini"
EMBEDDER = "text-embedding-3-small"
COMPLETER = "gpt-3.5-turbo-instruct"
GREETING: Any = [{"role": "user", "content": "Say hello."}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": [city]}},
                "required": ["city"],
            },
        },
    }
    for name, city in (("get_weather", "Paris"), ("get_time", "Lima"))
]


# --- answers ----------------------------------------------------------------------------------------------------------


def chat(client: OpenAI) -> Seen:
    return completion_seen(client.chat.completions.create(model=MODEL, messages=GREETING))


def stream(client: OpenAI) -> Seen:
    """Usage was not asked for, so none may be in the stream."""
    return chunks_seen(client.chat.completions.create(model=MODEL, messages=GREETING, stream=True))


def stream_with_usage(client: OpenAI) -> Seen:
    chunks = client.chat.completions.create(
        model=MODEL, messages=GREETING, stream=True, stream_options={"include_usage": True}
    )
    return chunks_seen(chunks)


def stream_helper(client: OpenAI) -> Seen:
    """The SDK's own accumulator."""
    with client.chat.completions.stream(model=MODEL, messages=GREETING) as events:
        texts = [event.delta for event in events if event.type == "content.delta"]
        return {**completion_seen(events.get_final_completion()), "pieces_join": "".join(texts)}


def async_client(client: OpenAI) -> Seen:
    async def both() -> Seen:
        async with AsyncOpenAI(default_headers={"x-case": "async_client"}) as other:
            whole = await other.chat.completions.create(model=MODEL, messages=GREETING)
            chunks = await other.chat.completions.create(model=MODEL, messages=GREETING, stream=True)
            return {"whole": completion_seen(whole), "streamed": chunks_seen([chunk async for chunk in chunks])}

    return asyncio.run(both())


def tool_call(client: OpenAI) -> Seen:
    """The whole conversation: the model calls, the application answers, the model speaks."""
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)  # type: ignore[arg-type]
    message = asked.choices[0].message
    assert message.tool_calls
    results = [{"role": "tool", "tool_call_id": call.id, "content": "18 °C"} for call in message.tool_calls]
    conversation: Any = [*messages, message.model_dump(exclude_none=True), *results]
    answered = client.chat.completions.create(model=MODEL, messages=conversation, tools=TOOLS)
    return {"asked": completion_seen(asked), "answered": completion_seen(answered)}


def parallel_tool_calls(client: OpenAI) -> Seen:
    return completion_seen(
        client.chat.completions.create(
            model=MODEL, messages=GREETING, tools=TOOLS, parallel_tool_calls=True, extra_headers=replay(tool_calls=2)
        )
    )


def stream_tool_call(client: OpenAI) -> Seen:
    return chunks_seen(client.chat.completions.create(model=MODEL, messages=GREETING, tools=TOOLS, stream=True))


def stream_parallel_tool_calls(client: OpenAI) -> Seen:
    return chunks_seen(
        client.chat.completions.create(
            model=MODEL, messages=GREETING, tools=TOOLS, stream=True, extra_headers=replay(tool_calls=2)
        )
    )


def json_mode(client: OpenAI) -> Seen:
    return completion_seen(
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Answer in JSON."}],
            response_format={"type": "json_object"},
        )
    )


def json_schema(client: OpenAI) -> Seen:
    class City(BaseModel):
        name: str
        inhabitants: int

    parsed = client.chat.completions.parse(model=MODEL, messages=GREETING, response_format=City)
    city = parsed.choices[0].message.parsed
    return {**completion_seen(parsed), "parsed": city and city.model_dump()}


def image_in_the_body(client: OpenAI) -> Seen:
    return look_at(client, f"data:image/png;base64,{PIXEL}")


def image_by_address(client: OpenAI) -> Seen:
    return look_at(client, "https://images.example/cat.png")


def look_at(client: OpenAI, url: str) -> Seen:
    content: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": content}], max_tokens=300
    )
    return {**completion_seen(raw.parse()), "headers": tollgate_headers(raw.headers)}


def several_choices(client: OpenAI) -> Seen:
    return completion_seen(client.chat.completions.create(model=MODEL, messages=GREETING, n=3))


def stream_several_choices(client: OpenAI) -> Seen:
    return chunks_seen(client.chat.completions.create(model=MODEL, messages=GREETING, n=3, stream=True))


def raw_response(client: OpenAI) -> Seen:
    """What a call cost is in the headers of its answer."""
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=GREETING, max_tokens=100)
    return {**completion_seen(raw.parse()), "headers": tollgate_headers(raw.headers)}


def stream_raw_response(client: OpenAI) -> Seen:
    """A stream's cost is not known when its headers are sent; the generation endpoint has it afterwards."""
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=GREETING, max_tokens=100, stream=True
    ) as raw:
        seen = chunks_seen(raw.parse())
    headers = tollgate_headers(raw.headers)
    generation: Any = client.get(f"/generation?id={headers['x-request-id']}", cast_to=object)
    return {**seen, "headers": headers, "generation": generation["data"]}


def credits_left(client: OpenAI) -> Seen:
    answer: Any = client.get("/credits", cast_to=object)
    return dict(answer["data"])


def models(client: OpenAI) -> Seen:
    listed = list(client.models.list())
    one = client.models.retrieve(MODEL)
    return {
        "ids": [model.id for model in listed],
        "objects": sorted({model.object for model in listed}),
        "retrieved": one.model_dump(),
        "unknown": failure(lambda: client.models.retrieve("no-such-model")),
    }


# --- other endpoints --------------------------------------------------------------------------------------------------


def embeddings(client: OpenAI) -> Seen:
    """The SDK itself asks for base64 and unpacks it."""
    inputs: Any = {"text": "Hello", "texts": ["Hello", "world"], "numbers": [1, 2, 3], "arrays": [[1, 2], [3]]}
    answers = {
        name: client.embeddings.create(model=EMBEDDER, input=value, dimensions=4) for name, value in inputs.items()
    }
    plain = client.embeddings.create(model=EMBEDDER, input="Hello", dimensions=4, encoding_format="float")
    return {
        "sizes": {name: [len(each.embedding) for each in answer.data] for name, answer in answers.items()},
        "tokens": {name: answer.usage.prompt_tokens for name, answer in answers.items()},
        "same_either_way": plain.data[0].embedding == answers["text"].data[0].embedding,
    }


def completions(client: OpenAI) -> Seen:
    whole = client.completions.create(model=COMPLETER, prompt="Once", max_tokens=20)
    several = client.completions.create(model=COMPLETER, prompt=["Once", "Twice"], n=2, best_of=3, max_tokens=5)
    chunks = list(
        client.completions.create(
            model=COMPLETER, prompt="Once", max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
    )
    silent = list(client.completions.create(model=COMPLETER, prompt="Once", max_tokens=20, stream=True))
    return {
        "text": whole.choices[0].text,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": whole.usage and whole.usage.model_dump(),
        "several": [choice.text for choice in several.choices],
        "several_tokens": several.usage and several.usage.completion_tokens,
        "streamed": "".join(choice.text for chunk in chunks for choice in chunk.choices),
        "usages": [chunk.usage.completion_tokens for chunk in chunks if chunk.usage is not None],
        "usages_unasked": [chunk.id for chunk in silent if chunk.usage is not None or not chunk.choices],
    }


def completion_breaks(client: OpenAI) -> Seen:
    received: list[str] = []

    def read() -> None:
        chunks = client.completions.create(
            model=COMPLETER,
            prompt="Once",
            max_tokens=30,
            stream=True,
            extra_headers=replay(output_tokens=20, **{"break": 5}),
        )
        for chunk in chunks:
            received.append(chunk.choices[0].text)  # noqa: PERF401 - what came before the error counts

    error = failure(read)
    return {"text": "".join(received), "error": error}


def moderations(client: OpenAI) -> Seen:
    """Without a model, as most applications call it."""
    picture: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    words: Any = {"type": "text", "text": "Hello"}
    one = client.moderations.create(input="Hello")
    return {
        "model": one.model,
        "results": [
            len(each.results)
            for each in (
                one,
                client.moderations.create(input=["Hello", "world"], model=one.model),
                client.moderations.create(input=[words, picture], model=one.model),
            )
        ],
        "flagged": one.results[0].flagged,
    }


def kinds_of_models(client: OpenAI) -> Seen:
    """A model that is for something else."""
    return {
        "chat_embeds": failure(lambda: client.embeddings.create(model=MODEL, input="Hello")),
        "embedder_chats": failure(lambda: client.chat.completions.create(model=EMBEDDER, messages=GREETING)),
    }


# --- errors -----------------------------------------------------------------------------------------------------------


def wrong_key(client: OpenAI) -> Seen:
    return failure(client.with_options(api_key="tg-not-a-key").models.list)


def suspended_org(client: OpenAI) -> Seen:
    theirs = client.with_options(api_key=os.environ["SUSPENDED_API_KEY"])
    return failure(lambda: theirs.chat.completions.create(model=MODEL, messages=GREETING))


def unknown_model(client: OpenAI) -> Seen:
    return failure(lambda: client.chat.completions.create(model="no-such-model", messages=GREETING))


def malformed(client: OpenAI) -> Seen:
    return failure(lambda: client.chat.completions.create(model=MODEL, messages=[]))


def upstream_status(client: OpenAI) -> Seen:
    """What a provider answers is what the application gets: the SDK's exception for each status."""
    once = client.with_options(max_retries=0)
    statuses = (400, 404, 409, 413, 422, 429, 500, 503)
    return {
        str(status): failure(
            lambda status=status: once.chat.completions.create(  # type: ignore[misc]
                model=MODEL, messages=GREETING, extra_headers=replay(status=status)
            )
        )
        for status in statuses
    }


def upstream_refuses_the_operator(client: OpenAI) -> Seen:
    """The gateway's own credential is no business of the application's."""
    once = client.with_options(max_retries=0)
    return failure(
        lambda: once.chat.completions.create(model=MODEL, messages=GREETING, extra_headers=replay(status=401))
    )


def no_answer_in_time(client: OpenAI) -> Seen:
    hasty = client.with_options(timeout=0.5, max_retries=0)
    return failure(
        lambda: hasty.chat.completions.create(
            model=MODEL, messages=GREETING, stream=True, extra_headers=replay(hang=0, hang_at="headers")
        )
    )


def unreachable(client: OpenAI) -> Seen:
    lost = client.with_options(base_url=os.environ["UNREACHABLE_URL"], max_retries=0)
    return failure(lambda: lost.chat.completions.create(model=MODEL, messages=GREETING))


def error_in_the_stream(client: OpenAI) -> Seen:
    """The provider sends an error event after its 200."""
    return broken_stream(client, replay(output_tokens=20, error_event=5))


def stream_breaks(client: OpenAI) -> Seen:
    """The provider hangs up in mid-stream: that must never look like the end of an answer."""
    return broken_stream(client, replay(output_tokens=20, **{"break": 5}))


def broken_stream(client: OpenAI, headers: dict[str, str], **options: Any) -> Seen:
    received: list[ChatCompletionChunk] = []

    def read() -> None:
        chunks = client.chat.completions.create(
            model=MODEL, messages=GREETING, stream=True, extra_headers=headers, **options
        )
        for chunk in chunks:
            received.append(chunk)  # noqa: PERF402 - what came before the error counts

    error = failure(read)
    return {**chunks_seen(received), "error": error}


# --- credits ----------------------------------------------------------------------------------------------------------


def out_of_credits(client: OpenAI) -> Seen:
    """402 insufficient_credits: retrying cannot help, and the SDK with its usual settings does not."""
    broke = client.with_options(api_key=os.environ["BROKE_API_KEY"])
    return failure(lambda: broke.chat.completions.create(model=MODEL, messages=GREETING))


def credits_end_in_the_stream(client: OpenAI) -> Seen:
    thin = client.with_options(api_key=os.environ["THIN_API_KEY"])
    return broken_stream(thin, replay(output_tokens=4000), stream_options={"include_usage": True})


def busy(client: OpenAI) -> Seen:
    """402 credits_reserved: another call holds the credits for as long as this one is tried."""
    ours = client.with_options(api_key=os.environ["BUSY_API_KEY"], max_retries=1)
    with held_open(ours):
        return failure(lambda: ours.chat.completions.create(model=MODEL, messages=GREETING, max_tokens=1000))


def busy_until_a_call_ends(client: OpenAI) -> Seen:
    """402 credits_reserved: the first refusal makes this application end its other call; then the retry succeeds."""
    refused: list[int] = []

    def end_the_other(response: Any) -> None:
        if response.status_code == 402:
            refused.append(response.status_code)
            other.close()

    hooked = openai.DefaultHttpxClient(event_hooks={"response": [end_the_other]})
    ours = client.with_options(api_key=os.environ["BUSY_API_KEY"], http_client=hooked, max_retries=5)
    with held_open(ours) as other:
        raw = ours.chat.completions.with_raw_response.create(model=MODEL, messages=GREETING, max_tokens=1000)
    return {**completion_seen(raw.parse()), "refused": len(refused), "retries": raw.retries_taken}


def held_open(client: OpenAI) -> openai.Stream[ChatCompletionChunk]:
    """A stream that has begun and does not go on: its credits stay reserved."""
    chunks = client.chat.completions.create(
        model=MODEL, messages=GREETING, max_tokens=1000, stream=True, extra_headers=replay(output_tokens=9, hang=3)
    )
    next(chunks)
    return chunks


def rate_limited(client: OpenAI) -> Seen:
    """429 with retry-after: the SDK waits that long before it tries again."""
    once_more = client.with_options(max_retries=1)
    return failure(
        lambda: once_more.chat.completions.create(
            model=MODEL, messages=GREETING, extra_headers=replay(status=429, retry_after=1)
        )
    )


def upstream_down(client: OpenAI) -> Seen:
    once_more = client.with_options(max_retries=1)
    return failure(
        lambda: once_more.chat.completions.create(model=MODEL, messages=GREETING, extra_headers=replay(status=500))
    )


def replay(**directions: object) -> dict[str, str]:
    return {f"x-replay-{name.replace('_', '-')}": str(value) for name, value in directions.items()}


CASES: dict[str, Callable[[OpenAI], Seen]] = {
    case.__name__: case
    for case in (
        *(chat, stream, stream_with_usage, stream_helper, async_client),
        *(tool_call, parallel_tool_calls, stream_tool_call, stream_parallel_tool_calls, json_mode, json_schema),
        *(image_in_the_body, image_by_address, several_choices, stream_several_choices),
        *(raw_response, stream_raw_response, credits_left, models),
        *(embeddings, completions, completion_breaks, moderations, kinds_of_models),
        *(wrong_key, suspended_org, unknown_model, malformed, upstream_status, upstream_refuses_the_operator),
        *(no_answer_in_time, unreachable, error_in_the_stream, stream_breaks),
        *(out_of_credits, credits_end_in_the_stream, busy, busy_until_a_call_ends, rate_limited, upstream_down),
    )
}


def main(names: list[str]) -> None:
    seen: dict[str, Seen] = {"sdk": {"version": openai.__version__}}
    with OpenAI() as client:
        for name in names or CASES:
            try:
                seen[name] = CASES[name](client.with_options(default_headers={"x-case": name}))
            except Exception:  # noqa: BLE001 - the other cases are still worth seeing
                seen[name] = {"crashed": traceback.format_exc()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1:])
