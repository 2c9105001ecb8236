"""litellm's answers and errors in OpenAI's dialect, with the provider's own figures and statuses."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.translator.process.guard import Exchange

_OURS_ALONE: Final = ("provider_specific_fields", "citations", "usage", "service_tier", "system_fingerprint")
_MESSAGE_CHARS_MAX: Final = 2_000
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_body(message: str, *, type_: str, code: str, param: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type_, "param": param, "code": code}})


class Failure(msgspec.Struct, frozen=True):
    """What a caller is told of a call that failed."""

    status: int
    body: bytes
    retry_after: str = ""


def failure_of(error: BaseException, exchange: Exchange, secrets: Iterable[str]) -> Failure:
    """With the provider's status where it has answered; without any credential that its text may hold."""
    if exchange.refused:
        text = f"{exchange.refused} is no address of a configured provider; nothing was sent there."
        return Failure(502, error_body(text, type_="upstream_error", code="address_not_allowed"))
    told = exchange.status
    if told is not None and told >= 400:
        status = told
    elif told is not None and told >= 300:
        status = 502  # a redirect, which is not followed
    else:
        status = _status_of(error, answered=told is not None)
    message = _without(str(getattr(error, "message", "") or error), secrets)[:_MESSAGE_CHARS_MAX]
    type_ = _TYPES.get(status, "invalid_request_error" if status < 500 else "upstream_error")
    param = getattr(error, "param", None)
    code = getattr(error, "code", None)
    body = error_body(
        message or type(error).__name__,
        type_=type_,
        code=code if type(code) is str and not code.isdigit() else "provider_error",
        param=param if type(param) is str else None,
    )
    return Failure(status, body, exchange.retry_after)


def _status_of(error: BaseException, *, answered: bool) -> int:
    """litellm's own word where nothing was heard; what it made of a good answer and could not read is a 502."""
    name = type(error).__name__
    if "Timeout" in name:
        return 504
    status = getattr(error, "status_code", None)
    if not answered and type(status) is int and 400 <= status < 500:
        return status
    return 502


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def completion(response: Any, model: str, exchange: Exchange) -> bytes:
    """A whole answer."""
    said = response.model_dump(exclude_none=True)
    usage = said.get("usage")
    _strip(said, model)
    for choice in said.get("choices", ()):
        _strip(choice, None)
        _strip(choice.get("message", {}), None)
    if usage:
        said["usage"] = usage_of(usage)
    return msgspec.json.encode(said)


def embeddings(response: Any, model: str) -> bytes:
    said = response.model_dump(exclude_none=True)
    usage = said.get("usage") or {}
    _strip(said, model)
    said["object"] = "list"
    said["usage"] = {name: usage[name] for name in ("prompt_tokens", "total_tokens") if name in usage}
    return msgspec.json.encode(said)


def chunk(response: Any, model: str) -> dict[str, Any] | None:
    """A piece of a stream; None where it says nothing."""
    said: dict[str, Any] = response.model_dump(exclude_none=True)
    _strip(said, model)
    for choice in said.get("choices", ()):
        _strip(choice, None)
        _strip(choice.get("delta", {}), None)
    return said if said.get("choices") else None


def usage_chunk(of: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """The last piece of a stream whose usage the provider has told."""
    return {**of, "choices": [], "usage": usage_of(usage)}


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """In the words of OpenAI and, for what was written to a cache, of those who have added it."""
    prompt, output = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    of_prompt = usage.get("prompt_tokens_details") or {}
    of_output = usage.get("completion_tokens_details") or {}
    said: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    cached = of_prompt.get("cached_tokens") or usage.get("cache_read_input_tokens") or 0
    written = of_prompt.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens") or 0
    if cached or written:
        said["prompt_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": written}
    if of_output.get("reasoning_tokens"):
        said["completion_tokens_details"] = {"reasoning_tokens": of_output["reasoning_tokens"]}
    return said


def event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _strip(said: dict[str, Any], model: str | None) -> None:
    for name in _OURS_ALONE:
        said.pop(name, None)
    if model is not None:
        said["model"] = model
