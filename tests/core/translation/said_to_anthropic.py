"""Chat requests in a few words, and what becomes of them."""

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages

TARGET = MessagesTarget(max_tokens_default=4096)
ADAPTIVE = MessagesTarget(max_tokens_default=4096, adaptive_thinking=True)
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
PIXEL = base64.b64encode(b"pixel").decode()


def translated(target: MessagesTarget = TARGET, **chat: Any) -> dict[str, Any]:
    body = json.dumps({"model": "claude", "messages": [HI], **chat}).encode()
    return json.loads(request_to_messages(body, target).body)  # type: ignore[no-any-return]


def dropped(target: MessagesTarget = TARGET, **chat: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = json.dumps({"model": "claude", "messages": [HI], **chat}).encode()
    made = request_to_messages(body, target, drop_unsupported=True)
    return json.loads(made.body), made.dropped


def refused(target: MessagesTarget = TARGET, **chat: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        translated(target, **chat)
    return caught.value.param


def turns(*messages: dict[str, Any], target: MessagesTarget = TARGET) -> list[dict[str, Any]]:
    return translated(target, messages=list(messages))["messages"]  # type: ignore[no-any-return]
