"""What applications do with the Responses API of the newest `openai` package, through a gateway to a replay provider.

OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m tests.sdks.python.responses_suite [case …]
"""

import asyncio
import json
import os
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from tests.sdks.python.cases import BREAKS, Seen, replay, run_cases
from tests.sdks.python.seen import failure, tollgate_headers

MODEL = "gpt-4o-mini"
QUESTION = "Say hello."
TOOLS: Any = [
    {
        "type": "function",
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
]
client = OpenAI()


def seen(response: Response) -> Seen:
    return {
        "id": response.id,
        "status": response.status,
        "text": response.output_text,
        "calls": [
            {"name": item.name, "arguments": json.loads(item.arguments)}
            for item in response.output
            if item.type == "function_call"
        ],
        "usage": response.usage and response.usage.model_dump(),
    }


def create() -> Seen:
    raw = client.responses.with_raw_response.create(model=MODEL, input=QUESTION, instructions="Be brief.")
    return {**seen(raw.parse()), "headers": tollgate_headers(raw.headers)}


def cut_short() -> Seen:
    response = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=16)
    return {**seen(response), "reason": response.incomplete_details and response.incomplete_details.reason}


def stream() -> Seen:
    events = list(client.responses.create(model=MODEL, input=QUESTION, stream=True))
    last = events[-1]
    assert last.type == "response.completed"
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    return {**seen(last.response), "pieces_join": "".join(pieces), "numbers": [e.sequence_number for e in events]}


def stream_helper() -> Seen:
    """The SDK's own accumulator."""
    with client.responses.stream(model=MODEL, input=QUESTION) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        return {**seen(events.get_final_response()), "pieces_join": "".join(pieces)}


def async_client() -> Seen:
    async def ask() -> Seen:
        async with AsyncOpenAI() as other:
            return seen(await other.responses.create(model=MODEL, input=QUESTION))

    return asyncio.run(ask())


def parsed() -> Seen:
    class City(BaseModel):
        name: str
        inhabitants: int

    response = client.responses.parse(model=MODEL, input=QUESTION, text_format=City)
    city = response.output_parsed
    return {**seen(response), "parsed": city and city.model_dump()}


def tool_call() -> Seen:
    """The whole conversation: the model calls, the application answers, the model speaks."""
    asked = client.responses.create(model=MODEL, input="What is the weather in Paris?", tools=TOOLS)
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "18 °C"}
        for item in asked.output
        if item.type == "function_call"
    ]
    conversation: Any = [{"role": "user", "content": "What is the weather in Paris?"}, *asked.output, *results]
    answered = client.responses.create(model=MODEL, input=conversation, tools=TOOLS)
    return {"asked": seen(asked), "answered": seen(answered)}


def stream_tool_call() -> Seen:
    with client.responses.stream(model=MODEL, input=QUESTION, tools=TOOLS) as events:
        events.until_done()
        return seen(events.get_final_response())


def goes_on() -> Seen:
    """Turns that the provider keeps, and what is done with one of them."""
    first = client.responses.create(model=MODEL, input=QUESTION)
    second = client.responses.create(model=MODEL, input="Go on.", previous_response_id=first.id)
    shown = client.responses.retrieve(second.id)
    items = client.responses.input_items.list(second.id)
    client.responses.delete(second.id)
    other = client.with_options(api_key=os.environ["OTHER_API_KEY"])
    return {
        "previous": shown.previous_response_id == first.id,
        "shown": seen(shown)["text"] == seen(second)["text"],
        "items": len(items.data),
        "deleted": failure(lambda: client.responses.retrieve(second.id)),
        "theirs": failure(lambda: other.responses.retrieve(first.id)),
        "theirs_goes_on": failure(
            lambda: other.responses.create(model=MODEL, input=QUESTION, previous_response_id=first.id)
        ),
    }


def background() -> Seen:
    asked = client.responses.create(
        model=MODEL, input=QUESTION, background=True, extra_headers=replay(background_looks=2)
    )
    statuses = [asked.status]
    while statuses[-1] not in ("completed", "failed", "incomplete", "cancelled"):
        answer = client.responses.retrieve(asked.id)
        statuses.append(answer.status)
    return {**seen(answer), "statuses": statuses}


def background_cancelled() -> Seen:
    asked = client.responses.create(
        model=MODEL, input=QUESTION, background=True, extra_headers=replay(background_looks=1000)
    )
    return {"status": client.responses.cancel(asked.id).status}


def malformed() -> Seen:
    return failure(lambda: client.responses.create(model=MODEL, input=5))  # type: ignore[call-overload]


def wrong_key() -> Seen:
    other = client.with_options(api_key="tg-not-a-key")
    return failure(lambda: other.responses.create(model=MODEL, input=QUESTION))


def out_of_credits() -> Seen:
    broke = client.with_options(api_key=os.environ["BROKE_API_KEY"])
    return failure(lambda: broke.responses.create(model=MODEL, input=QUESTION))


def upstream_status() -> Seen:
    once = client.with_options(max_retries=0)
    return failure(lambda: once.responses.create(model=MODEL, input=QUESTION, extra_headers=replay(status=503)))


def error_in_the_stream() -> Seen:
    return broken(replay(output_tokens=20, error_event=5))


def stream_breaks() -> Seen:
    return broken(BREAKS)


def broken(headers: dict[str, str]) -> Seen:
    received: list[ResponseStreamEvent] = []

    def read() -> None:
        for event in client.responses.create(model=MODEL, input=QUESTION, stream=True, extra_headers=headers):
            received.append(event)  # noqa: PERF402 - what came before the error counts

    error = failure(read)
    pieces = [event.delta for event in received if event.type == "response.output_text.delta"]
    return {"text": "".join(pieces), "error": error, "version": openai.__version__}


if __name__ == "__main__":
    run_cases(
        *(create, cut_short, stream, stream_helper, async_client, parsed, tool_call, stream_tool_call),
        *(goes_on, background, background_cancelled),
        *(malformed, wrong_key, out_of_credits, upstream_status, error_in_the_stream, stream_breaks),
    )
