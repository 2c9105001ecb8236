"""Requests for Anthropic's messages in a few words, and what becomes of them."""

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat

EXTENDED = ChatTarget()
PLAIN = ChatTarget(extended=False)
HI = {"role": "user", "content": "Hi"}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
MARK = {"type": "ephemeral", "ttl": "1h"}
PIXEL = base64.b64encode(b"pixel").decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
IMAGE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def encoded(said: dict[str, Any]) -> bytes:
    return json.dumps({"model": "gpt", "max_tokens": 1000, "messages": [HI], **said}, separators=(",", ":")).encode()


def translated(target: ChatTarget = EXTENDED, **said: Any) -> dict[str, Any]:
    return json.loads(request_to_chat(encoded(said), target).body)  # type: ignore[no-any-return]


def dropped(target: ChatTarget = EXTENDED, **said: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    made = request_to_chat(encoded(said), target, drop_unsupported=True)
    return json.loads(made.body), made.dropped


def refused(target: ChatTarget = EXTENDED, **said: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        translated(target, **said)
    return caught.value.param


def messages(*turns: dict[str, Any], target: ChatTarget = EXTENDED) -> list[dict[str, Any]]:
    return translated(target, messages=list(turns))["messages"]  # type: ignore[no-any-return]


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}
