"""What the replay provider reads of a request in Gemini's dialects, in the same facts as it has of all others."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.replay.request import IMAGE_TOKENS, BadRequest, ChatRequest, number_of
from gateway.replay.text import number_from

STREAM: Final = "streamGenerateContent"
N_MAX: Final = 8
_LIMITS: Final = ("maxOutputTokens", "max_output_tokens")


def read_gemini_request(body: bytes, model: str, action: str, *, events: bool) -> ChatRequest:
    """Raises BadRequest."""
    fields = _object(body)
    contents = _listed(fields.get("contents"))
    if not contents:
        raise BadRequest("GenerateContentRequest.contents: contents is not specified", "contents")
    config = _either(fields, "generationConfig", "generation_config") or {}
    if not isinstance(config, dict):
        raise BadRequest("generation_config must be an object.", "generation_config")
    limits = [number_of(config, name, 1, 2**31 - 1) for name in _LIMITS]
    count = number_of(config, "candidateCount", 1, N_MAX)
    tools = _listed(fields.get("tools"))
    functions = [each for tool in tools for each in _listed(_either(tool, "functionDeclarations"))]
    schema = _either(config, "responseJsonSchema", "responseSchema", "response_schema", "response_json_schema")
    system = _either(fields, "systemInstruction", "system_instruction")
    return ChatRequest(
        model=model,
        stream=action == STREAM,
        include_usage=events,
        n=1 if count is None else count,
        limit=max((limit for limit in limits if limit is not None), default=None),
        prompt_tokens=prompt_tokens([system, tools, contents]),
        prompt=_last_user_text(contents),
        after_tool=_has(contents[-1], "functionResponse"),
        tools=[
            {
                "function": {
                    "name": each.get("name", "tool"),
                    "parameters": _either(each, "parametersJsonSchema", "parameters") or {},
                }
            }
            for each in functions
        ],
        tool_choice=_choice(_either(fields, "toolConfig", "tool_config")),
        response_format=(
            {"type": "json_schema", "json_schema": {"schema": schema}} if isinstance(schema, dict) else {}
        ),
        fingerprint=gemini_fingerprint(fields, action),
    )


def read_embed_request(body: bytes, model: str, action: str) -> ChatRequest:
    """`n` is how many embeddings are asked for. Raises BadRequest."""
    fields = _object(body)
    asked = _listed(fields.get("requests")) if action == "batchEmbedContents" else [fields]
    if not asked or not all("content" in each for each in asked):
        raise BadRequest("EmbedContentRequest.content: content is empty", "content")
    return ChatRequest(
        model=model,
        stream=False,
        include_usage=True,
        n=len(asked),
        limit=None,
        prompt_tokens=prompt_tokens([each["content"] for each in asked]),
        prompt="",
        after_tool=False,
        tools=[],
        tool_choice="none",
        response_format={},
        fingerprint=gemini_fingerprint(fields, action),
    )


def read_counted(body: bytes) -> int:
    """How many tokens a prompt has. Raises BadRequest."""
    fields = _object(body)
    asked = _either(fields, "generateContentRequest") or fields
    if not isinstance(asked, dict) or not asked.get("contents"):
        raise BadRequest("CountTokensRequest.contents: contents is not specified", "contents")
    system = _either(asked, "systemInstruction", "system_instruction")
    return prompt_tokens([system, _listed(asked.get("tools")), asked["contents"]])


def gemini_fingerprint(fields: Mapping[str, Any], action: str) -> int:
    """The same for two requests that ask the same, whatever a gateway spliced in: another model, an output limit."""
    kept = {name: value for name, value in fields.items() if value is not None and name != "model"}
    for name in ("generationConfig", "generation_config"):
        config = kept.pop(name, None)
        if isinstance(config, dict) and (rest := {key: config[key] for key in config if key not in _LIMITS}):
            kept["generationConfig"] = rest
    return number_from(action, msgspec.json.encode(kept, order="sorted"))


def prompt_tokens(told: object) -> int:
    """About a quarter of the bytes, inline data at a flat rate."""
    data = 0

    def without_data(value: object) -> object:
        nonlocal data
        if isinstance(value, list):
            return [without_data(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {name: without_data(each) for name, each in value.items() if name not in ("inlineData", "inline_data")}
        data += len(value) - len(kept)
        return kept

    size = len(msgspec.json.encode(without_data(told)))
    return -(-size // 4) + data * IMAGE_TOKENS


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest("Invalid JSON payload received.") from error
    if not isinstance(fields, dict):
        raise BadRequest("Invalid JSON payload received: it must be an object.")
    return fields


def _either(fields: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these keys, in camelCase or snake_case."""
    for name in names:
        for spelled in (name, "".join(f"_{each.lower()}" if each.isupper() else each for each in name)):
            if fields.get(spelled) is not None:
                return fields[spelled]
    return None


def _listed(value: object) -> list[dict[str, Any]]:
    """An array of objects, or the one in its place."""
    if isinstance(value, dict):
        return [value]
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _has(content: Mapping[str, Any], name: str) -> bool:
    return any(_either(part, name) is not None for part in _listed(content.get("parts")))


def _choice(config: object) -> Any:
    calling = _either(config, "functionCallingConfig") if isinstance(config, dict) else None
    if not isinstance(calling, dict):
        return "auto"
    names = _either(calling, "allowedFunctionNames")
    if isinstance(names, list) and names:
        return {"function": {"name": names[0]}}
    return "none" if calling.get("mode") == "NONE" else "auto"


def _last_user_text(contents: list[dict[str, Any]]) -> str:
    for content in reversed(contents):
        if content.get("role", "user") == "user":
            texts = [part.get("text") for part in _listed(content.get("parts"))]
            return " ".join(text for text in texts if isinstance(text, str))
    return ""
