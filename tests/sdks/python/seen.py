"""What an application saw of a call, as plain values that can be printed and compared."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from openai import APIError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

Seen = dict[str, Any]


def completion_seen(completion: ChatCompletion) -> Seen:
    return {
        "id": completion.id,
        "request_id": getattr(completion, "_request_id", None),
        "model": completion.model,
        "choices": [
            {
                "content": choice.message.content,
                "finish_reason": choice.finish_reason,
                "tool_calls": [
                    {"name": call.function.name, "arguments": json.loads(call.function.arguments)}
                    for call in choice.message.tool_calls or []
                    if call.type == "function"
                ],
            }
            for choice in completion.choices
        ],
        "usage": completion.usage and completion.usage.model_dump(),
    }


def chunks_seen(chunks: Iterable[ChatCompletionChunk]) -> Seen:
    choices: dict[int, Seen] = {}
    calls: dict[tuple[int, int], Seen] = {}
    usages, without_choices, ids = [], 0, set()
    for chunk in chunks:
        ids.add(chunk.id)
        without_choices += not chunk.choices
        if chunk.usage is not None:
            usages.append(chunk.usage.model_dump())
        for choice in chunk.choices:
            seen = choices.setdefault(choice.index, {"content": "", "finish_reason": None, "tool_calls": []})
            seen["content"] += choice.delta.content or ""
            seen["finish_reason"] = choice.finish_reason or seen["finish_reason"]
            for part in choice.delta.tool_calls or []:
                if (choice.index, part.index) not in calls:
                    calls[choice.index, part.index] = call = {"name": "", "arguments": ""}
                    seen["tool_calls"].append(call)
                if part.function is not None:
                    calls[choice.index, part.index]["name"] += part.function.name or ""
                    calls[choice.index, part.index]["arguments"] += part.function.arguments or ""
    for call in calls.values():
        call["arguments"] = json.loads(call["arguments"])
    return {
        "ids": sorted(ids),
        "choices": [choices[index] for index in sorted(choices)],
        "usages": usages,
        "chunks_without_choices": without_choices,
    }


def failure(call: Callable[[], object]) -> Seen:
    try:
        call()
    except APIError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return {
            "raised": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "request_id": getattr(error, "request_id", None),
            "code": error.code,
            "type": error.type,
            "param": error.param,
            "message": body.get("message", error.message),
            "metadata": body.get("metadata"),
        }
    raise AssertionError("the call succeeded")


def tollgate_headers(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(("x-request-id", "x-tollgate-"))}
