"""The conversation of a chat request as Anthropic's turns: who speaks alternates, results come first, system prompts
stand apart."""

from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields, read_arguments
from gateway.core.translation.media import document_block, file_block, image_block
from gateway.core.translation.reasoning import anthropic_block, read_details
from gateway.core.translation.tools import anthropic_id

TOOL_ERROR: Final = "[tool error] "
"""Begins the content of a tool message that tells of a failure: the chat dialect has no `is_error`."""

_BREAKPOINT: Final = {"type": "ephemeral"}
_SAID_OF_ANSWERS: Final = ("annotations", "index")
"""Clients hand whole answers back; these say nothing to the model."""
_NEUTRAL: Final = {"prefix": (b"false",), "refusal": (b'""',), "tool_calls": (b"[]",), "name": (b'""',)}
_UNSIGNED: Final = "is thinking that the provider of this model has not signed, which it does not take back"

Block = dict[str, Any]
Turn = dict[str, Any]


class Conversation:
    """Add the messages in order, then take what came of them."""

    def __init__(self, *, system_in_place: bool) -> None:
        self._system_in_place = system_in_place
        self._system: list[Block] = []
        self._turns: list[tuple[str, list[Block]]] = []
        self._results: list[Block] = []
        self._said_by_user: list[Block] = []
        self._system_later: list[Block] = []

    def add(self, message: Fields) -> None:
        """Raises InvalidRequest."""
        role = message.required("role", message.take_text("role"))
        message.ignore_if(_NEUTRAL)
        message.ignore(*_SAID_OF_ANSWERS)
        match role:
            case "system" | "developer":
                begun = self._turns or self._results or self._said_by_user
                (self._system_later if begun else self._system).extend(_read_content(message))
            case "user":
                self._said_by_user += _read_content(message)
            case "tool":
                self._results.append(_read_result(message))
            case "assistant":
                self._end_user_turn()
                self._append("assistant", _read_assistant(message))
            case _:
                raise message.invalid("role", "must be system, developer, user, assistant or tool")
        message.close()

    def end(self) -> tuple[str | list[Block] | None, list[Turn]]:
        """`system` and `messages`. Raises InvalidRequest where nobody has said anything."""
        self._end_user_turn()
        self._system += self._system_later
        if not self._turns:
            raise InvalidRequest("`messages` holds nothing to answer; nothing was sent.", param="messages")
        turns = [{"role": role, "content": _content(blocks)} for role, blocks in self._turns]
        return _content(self._system) if self._system else None, turns

    @property
    def last_call_lacks_thinking(self) -> bool:
        """The model waits for results of calls that it made in a turn that does not begin with thinking; models that
        think within a budget then refuse to go on thinking."""
        spoken = [blocks for role, blocks in self._turns if role == "assistant"]
        waiting = bool(self._turns) and any(block["type"] == "tool_result" for block in self._turns[-1][1])
        return waiting and bool(spoken) and not spoken[-1][0]["type"].endswith("thinking")

    def _end_user_turn(self) -> None:
        said = self._results + self._said_by_user
        self._results, self._said_by_user = [], []
        self._append("user", said)
        if self._system_later and said and self._system_in_place:
            self._append("system", self._system_later)
            self._system_later = []

    def _append(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(blocks)
        else:
            self._turns.append((role, blocks))


def _content(blocks: list[Block]) -> str | list[Block]:
    """Text alone needs no block."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _read_content(message: Fields) -> list[Block]:
    """Text that is empty or white space is left out: Anthropic refuses it, and it says nothing."""
    content = message.take_content("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if _says_something(content) else []
    blocks = [_read_part(part) for part in content]
    return [block for block in blocks if block is not None]


def _says_something(text: str) -> bool:
    return bool(text) and not text.isspace()


def _read_part(part: Fields) -> Block | None:
    kind = part.take_text("type") or "text"
    mark = _cache_mark(part)
    block: Block | None
    match kind:
        case "text" | "refusal":
            text = part.required(kind, part.take_text(kind))
            block = {"type": "text", "text": text} if _says_something(text) else None
        case "image_url":
            block = image_block(part)
        case "file":
            block = file_block(part)
        case "document_url":
            block = document_block(part)
        case _:
            part.lose_all(kind)
            return None
    part.close()
    if block is not None and mark is not None:
        block["cache_control"] = mark
    return block


def _cache_mark(part: Fields) -> Any:
    """Anthropic's own mark, where the chat carries it; OpenAI's breakpoint is one without a time of its own."""
    mark = part.take("cache_control")
    breakpoint = part.take_object("prompt_cache_breakpoint")
    if breakpoint is not None:
        breakpoint.ignore("mode")
        breakpoint.close()
    return mark if mark is not None or breakpoint is None else _BREAKPOINT


def _read_result(message: Fields) -> Block:
    call = message.take_text("tool_call_id")
    result: Block = {"type": "tool_result", "tool_use_id": anthropic_id(message.required("tool_call_id", call or None))}
    blocks = _read_content(message)
    if blocks and blocks[0]["type"] == "text" and blocks[0]["text"].startswith(TOOL_ERROR):
        blocks[0]["text"] = blocks[0]["text"].removeprefix(TOOL_ERROR)
        result["is_error"] = True
        if not _says_something(blocks[0]["text"]):
            del blocks[0]
    if len(blocks) == 1 and "cache_control" in blocks[0] and blocks[0]["type"] == "text":
        result["cache_control"] = blocks[0].pop("cache_control")
    if blocks:
        result["content"] = _content(blocks)
    return result


def _read_assistant(message: Fields) -> list[Block]:
    blocks = _read_thinking(message)
    blocks += _read_content(message)
    if (refusal := message.take_text("refusal")) and _says_something(refusal):
        blocks.append({"type": "text", "text": refusal})
    for call in message.take_objects("tool_calls"):
        if (block := _read_call(call)) is not None:
            blocks.append(block)
    return blocks


def _read_thinking(message: Fields) -> list[Block]:
    details = read_details(message)
    blocks = []
    for detail in details:
        if (block := anthropic_block(detail)) is not None:
            blocks.append(block)
        elif detail.get("type") is not None:
            message.lose("reasoning_details", why=_UNSIGNED)
    for key in ("reasoning_content", "reasoning"):  # the same once more, for readers
        if message.take_text(key) and not details:
            message.lose(key, why=_UNSIGNED)
    return blocks


def _read_call(call: Fields) -> Block | None:
    kind = call.take_text("type") or "function"
    if kind != "function":
        call.lose_all(kind)
        return None
    id = anthropic_id(call.required("id", call.take_text("id") or None))
    function = call.required("function", call.take_object("function"))
    name = function.required("name", function.take_text("name"))
    arguments: msgspec.Raw | None = read_arguments(function.take_text("arguments") or "")
    if arguments is None:
        raise function.invalid("arguments", "must spell a JSON object")
    call.ignore(*_SAID_OF_ANSWERS)
    function.close()
    call.close()
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}
