"""litellm's answers and errors in OpenAI's dialect, with the provider's own figures and statuses."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.translator.process.guard import Exchange

_ANSWER: Final = frozenset({"id", "object", "created", "choices"})
_CHOICE: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE: Final = frozenset({"role", "content", "tool_calls", "refusal", "reasoning_content", "audio", "annotations"})
"""What is passed on: OpenAI's words, and `reasoning_content`. litellm adds its own, and sometimes the provider's."""
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
    message = f"The provider could not be asked ({type(error).__name__}); it was sent at most one request."
    if told is not None and told >= 400:
        message = _without(_text_of(error), secrets)
    elif told is not None:
        message = f"The provider answered with {told}, which could not be read ({type(error).__name__})."
    type_ = _TYPES.get(status, "invalid_request_error" if status < 500 else "upstream_error")
    param = getattr(error, "param", None)
    code = getattr(error, "code", None)
    body = error_body(
        message,
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


def _text_of(error: BaseException) -> str:
    """The provider's words, without the tracebacks and requests for reports that litellm may put behind them."""
    text = str(getattr(error, "message", "") or error)
    for end in ("\nTraceback", "\n\n"):
        text = text.partition(end)[0]
    return text[:_MESSAGE_CHARS_MAX]


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def completion(response: Any, model: str) -> bytes:
    """A whole answer."""
    whole = response.model_dump(exclude_none=True)
    said = _said(whole, model)
    if usage := whole.get("usage"):
        said["usage"] = usage_of(usage)
    return msgspec.json.encode(said)


def embeddings(response: Any, model: str) -> bytes:
    whole = response.model_dump(exclude_none=True)
    usage = whole.get("usage") or {}
    said = {"object": "list", "model": model, "data": whole.get("data", [])}
    said["usage"] = {name: usage[name] for name in ("prompt_tokens", "total_tokens") if name in usage}
    return msgspec.json.encode(said)


def chunk(response: Any, model: str) -> dict[str, Any] | None:
    """A piece of a stream; None where it says nothing."""
    said = _said(response.model_dump(exclude_none=True), model)
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


def _said(whole: Mapping[str, Any], model: str) -> dict[str, Any]:
    """In OpenAI's words alone."""
    said = {"model": model, **_only(whole, _ANSWER)}
    said["choices"] = [_only(choice, _CHOICE) for choice in whole.get("choices", ())]
    for choice in said["choices"]:
        for name in ("message", "delta"):
            if name in choice:
                choice[name] = _only(choice[name], _MESSAGE)
    return said


def _only(given: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}
