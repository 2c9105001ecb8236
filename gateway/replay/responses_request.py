"""What the replay provider reads of a request in OpenAI's Responses dialect: the facts of a chat, from other places."""

from typing import Any

from gateway.replay.request import (
    BadRequest,
    ChatRequest,
    fingerprint,
    last_user_text,
    number_of,
    object_of,
    objects_of,
    prompt_tokens,
    since_the_question,
    text_of,
)

_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})


def read_responses_request(body: bytes) -> ChatRequest:
    """Tools and formats as OpenAI's chats have them. Raises BadRequest."""
    fields = object_of(body)
    asked, instructions = fields.get("input"), fields.get("instructions")
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) else objects_of(asked)
    if not items:
        raise BadRequest("input must be a string or a non-empty array of objects.", "input")
    tools = objects_of(fields.get("tools"))
    told = [{"role": "system", "content": instructions}, *items] if isinstance(instructions, str) else items
    since = since_the_question(items)
    text = fields.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return ChatRequest(
        model=fields["model"],
        stream=fields.get("stream") is True,
        include_usage=True,
        n=1,
        limit=number_of(fields, "max_output_tokens", 1, 2**31 - 1),
        prompt_tokens=prompt_tokens(told, tools),
        prompt=last_user_text(items),
        after_tool=items[-1].get("type") in _RESULTS,
        result=" ".join(_output(item) for item in since if item.get("type") in _RESULTS),
        called=frozenset(str(item.get("name")) for item in since if item.get("type") == "function_call"),
        tools=[{"function": tool} for tool in tools if tool.get("type") == "function"],
        tool_choice=_choice(fields.get("tool_choice")),
        parallel=fields.get("parallel_tool_calls") is not False,
        response_format=_format(form) if isinstance(form, dict) else {},
        fingerprint=fingerprint(fields),
    )


def _output(item: dict[str, Any]) -> str:
    output = item.get("output")
    return output if isinstance(output, str) else text_of({"content": output})


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        return {"function": {"name": choice.get("name")}} if choice.get("type") == "function" else "auto"
    return choice if isinstance(choice, str) else "auto"


def _format(form: dict[str, Any]) -> dict[str, Any]:
    if form.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": form.get("name"), "schema": form.get("schema")}}
    return form
