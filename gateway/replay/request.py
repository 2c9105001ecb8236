"""What the replay provider reads of a chat request: as tolerant as a provider, but it says what it cannot use."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.replay.text import number_from

IMAGE_TOKENS: Final = 85
N_MAX: Final = 128
_IGNORED_IN_MATCHING: Final = frozenset(
    {"model", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens"}
)
"""What a gateway may write into a body on its way, so that a recording must be found without it."""


class BadRequest(ValueError):
    """A provider would answer 400. `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that decide an answer."""

    model: str
    stream: bool
    include_usage: bool
    n: int
    limit: int | None
    prompt_tokens: int
    prompt: str
    """The last thing that a user said, in text."""
    after_tool: bool
    """The last message is a tool's result: an answer in words is due, where no call is demanded."""
    result: str = ""
    """What tools have answered since, in text."""
    called: frozenset[str] = frozenset()
    """The names of the tools that were called since."""
    tools: list[Mapping[str, Any]]
    tool_choice: Any
    """As OpenAI has it: `auto`, `none`, `required` or an object that names a function."""
    parallel: bool = True
    """One answer may call several tools."""
    response_format: Mapping[str, Any]
    fingerprint: int
    """Of everything but what a gateway may change on the way."""


def read_chat_request(body: bytes) -> ChatRequest:
    """Raises BadRequest."""
    fields = object_of(body)
    model, messages = fields["model"], fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadRequest("messages must be a non-empty array of objects.", "messages")
    n = number_of(fields, "n", 1, N_MAX)
    limits = [number_of(fields, name, 1, 2**31 - 1) for name in ("max_completion_tokens", "max_tokens")]
    options = fields.get("stream_options")
    tools = fields.get("tools")
    response_format = fields.get("response_format")
    since = since_the_question(messages)
    return ChatRequest(
        model=model,
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        n=1 if n is None else n,
        limit=max((limit for limit in limits if limit is not None), default=None),
        prompt_tokens=prompt_tokens(messages, tools),
        prompt=last_user_text(messages),
        after_tool=messages[-1].get("role") == "tool",
        result=" ".join(text_of(message) for message in since if message.get("role") == "tool"),
        called=frozenset(
            str(call["function"].get("name"))
            for message in since
            for call in objects_of(message.get("tool_calls"))
            if isinstance(call.get("function"), dict)
        ),
        tools=[each for each in tools if isinstance(each, dict)] if isinstance(tools, list) else [],
        tool_choice=fields.get("tool_choice", "auto"),
        parallel=fields.get("parallel_tool_calls") is not False,
        response_format=response_format if isinstance(response_format, dict) else {},
        fingerprint=fingerprint(fields),
    )


def read_messages_request(body: bytes) -> ChatRequest:
    """A request of Anthropic's dialect, its tools and formats as OpenAI's has them. Raises BadRequest."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest("The request body is not valid JSON.") from error
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object.")
    model, messages, system = fields.get("model"), fields.get("messages"), fields.get("system")
    if not isinstance(model, str) or not model:
        raise BadRequest("model: Field required", "model")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadRequest("messages: at least one message is required", "messages")
    tools = fields.get("tools")
    choice = fields.get("tool_choice")
    output = fields.get("output_config")
    schema = output.get("format") if isinstance(output, dict) else None
    told = [{"role": "system", "content": system}, *messages] if system else messages
    blocks = [block for message in since_the_question(messages) for block in objects_of(message.get("content"))]
    return ChatRequest(
        model=model,
        stream=fields.get("stream") is True,
        include_usage=True,
        n=1,
        limit=number_of(fields, "max_tokens", 1, 2**31 - 1),
        prompt_tokens=prompt_tokens(told, tools),
        prompt=last_user_text(messages),
        after_tool=_has_a_result(messages[-1]),
        result=" ".join(text_of(block) for block in blocks if block.get("type") == "tool_result"),
        called=frozenset(str(block.get("name")) for block in blocks if block.get("type") == "tool_use"),
        tools=[
            {"function": {"name": each.get("name", "tool"), "parameters": each["input_schema"]}}
            for each in (tools if isinstance(tools, list) else ())
            if isinstance(each, dict) and "input_schema" in each
        ],
        tool_choice=_choice(choice) if isinstance(choice, dict) else "auto",
        parallel=not (isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True),
        response_format={"type": "json_schema", "json_schema": schema} if isinstance(schema, dict) else {},
        fingerprint=fingerprint(fields),
    )


def _has_a_result(message: Mapping[str, Any]) -> bool:
    return any(block.get("type") == "tool_result" for block in objects_of(message.get("content")))


def _choice(choice: Mapping[str, Any]) -> Any:
    match choice.get("type"):
        case "tool":
            return {"function": {"name": choice.get("name")}}
        case "any":
            return "required"
        case "none":
            return "none"
        case _:
            return "auto"


def fingerprint(fields: Mapping[str, Any]) -> int:
    """The same for two requests that ask the same, however their JSON is written and whatever a gateway spliced in."""
    kept = {name: value for name, value in fields.items() if value is not None and name not in _IGNORED_IN_MATCHING}
    if kept.get("stream") is False:
        del kept["stream"]
    return number_from(msgspec.json.encode(kept, order="sorted"))


def object_of(body: bytes) -> dict[str, Any]:
    """The body of a call that names its model. Raises BadRequest."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest("We could not parse the JSON body of your request.") from error
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object.")
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        raise BadRequest("You must provide a model parameter.", "model")
    return fields


def number_of(fields: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequest(f"{name} must be an integer from {low} to {high}.", name)
    return value


def prompt_tokens(messages: list[dict[str, Any]], tools: object) -> int:
    """About a quarter of the bytes, images at a flat rate; what a gateway splices into the body changes nothing."""
    images = 0
    told: list[object] = [tools] if tools else []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            texts = [
                part for part in content if not (isinstance(part, dict) and part.get("type") in ("image_url", "image"))
            ]
            images += len(content) - len(texts)
            told.append({**message, "content": texts})
        else:
            told.append(message)
    return -(-len(msgspec.json.encode(told)) // 4) + images * IMAGE_TOKENS


def last_user_text(messages: list[dict[str, Any]]) -> str:
    at = _question_at(messages)
    return "" if at is None else text_of(messages[at])


def since_the_question(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    at = _question_at(messages)
    return messages if at is None else messages[at + 1 :]


def _question_at(messages: list[dict[str, Any]]) -> int | None:
    """Where a user spoke last. In Anthropic's dialect users hand over the results of tools, too."""
    for at in reversed(range(len(messages))):
        if messages[at].get("role") == "user" and not _has_a_result(messages[at]):
            return at
    return None


def text_of(told: Mapping[str, Any]) -> str:
    """Of a message or a block."""
    content = told.get("content")
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in objects_of(content)]
    return " ".join(text for text in texts if isinstance(text, str))


def objects_of(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
