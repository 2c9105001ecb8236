"""A whole chat completion as an answer of Anthropic's messages."""

from typing import Any, Final

import msgspec

from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.translation.citations import citation
from gateway.core.translation.fields import (
    Fields,
    Losses,
    Translated,
    UnreadableAnswer,
    read_arguments,
    read_body,
    reading_answer,
)
from gateway.core.translation.reasoning import block_of, read_details
from gateway.core.translation.stop_reasons import stop_reason
from gateway.core.translation.tools import anthropic_id
from gateway.core.translation.usage import as_messages

SERVICE_TIER: Final = {"default": "standard", "priority": "priority"}
"""Of an answer."""
UNREADABLE_ARGUMENTS: Final = "_unreadable_arguments"
"""The input's one key where a model's arguments spell no JSON object (cut off at the limit, for instance): it fails
every check of an input, so no tool runs with less than the model meant."""

_ANY: Final = msgspec.json.Decoder(Any)
_ANYS: Final = msgspec.json.Decoder(list[dict[str, Any]])
EMPTY: Final = {
    "refusal": (b'""',),
    "function_call": (b'{"arguments":"","name":""}', b'{"name":"","arguments":""}'),
    "audio": (b'{"data":"","expires_at":0,"id":"","transcript":""}',),
}
"""Providers that fill in whatever they know say nothing with these."""

Block = dict[str, Any]


def answer_to_messages(body: bytes) -> Translated:
    """The first choice; what the messages dialect cannot say is left out and listed. Raises UnreadableAnswer."""
    losses = Losses(drop=True)
    with reading_answer():
        completion = read_body(body, losses)
        choices = completion.take_objects("choices")
        if not choices:
            raise UnreadableAnswer("The provider's answer cannot be read: `choices` is empty.", "choices")
        pieces = [choice for choice in choices[1:] if choice.take_integer("index") == 0]
        if len(choices) > 1 + len(pieces):
            losses.add("choices[1]")
        return Translated(msgspec.json.encode(_translate(completion, choices[0], pieces, losses)), losses.dropped)


def _translate(completion: Fields, choice: Fields, pieces: list[Fields], losses: Losses) -> dict[str, Any]:
    """`pieces` are what follows on the first choice, as `in_pieces` has it."""
    id = completion.take_text("id") or ""
    message = choice.required("message", choice.take_object("message"))
    message.ignore_if(EMPTY)
    native = choice.take_text("native_finish_reason") or ""
    refusal = message.take_text("refusal") or ""
    explained = native == "refusal"
    content = _read_message(message, id, said="" if explained else refusal, losses=losses)
    for piece in pieces:
        further = piece.required("message", piece.take_object("message"))
        refused = further.take_text("refusal") or ""
        refusal += refused
        said = "" if explained else refused
        _add(content, _read_message(further, f"{id}_{len(content)}", said=said, losses=losses))
    called = any(block["type"] == "tool_use" for block in content)
    sequence = _stop_sequence(choice)
    reason = stop_reason(
        choice.take_text("finish_reason") or "",
        native=native or ("stop_sequence" if sequence is not None else ""),
        tools_called=called,
        refused=bool(refusal),
    )
    message.ignore("role")
    message.close()
    choice.ignore("index")
    if "logprobs" in choice:
        choice.ignore_if({"logprobs": (b'{"content":null,"refusal":null}',)})
    if "logprobs" in choice:
        choice.lose("logprobs")
    out: dict[str, Any] = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": completion.take_text("model") or "",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
    }
    if explained:
        out["stop_details"] = {"type": "refusal", "category": None, "explanation": refusal or None}
    return out | {"usage": _usage(completion)}


def _add(content: list[Block], blocks: list[Block]) -> None:
    """Neighbouring texts are one block, as in a stream."""
    if content and blocks and content[-1]["type"] == blocks[0]["type"] == "text":
        first, *blocks = blocks
        content[-1]["text"] += first["text"]
        if cited := content[-1].get("citations", []) + first.get("citations", []):
            content[-1]["citations"] = cited
    content += blocks


def _stop_sequence(choice: Fields) -> str | None:
    """As vLLM tells it; elsewhere, or where it is a token's number, it is not known."""
    return choice.take_text("stop_reason") if choice.is_text("stop_reason") else None


def _usage(completion: Fields) -> dict[str, Any]:
    reported = ReportedUsage()
    usage, groq = completion.take("usage"), completion.take("x_groq")
    carried: dict[str, Any] = {}
    for fields in usage_objects(*[None if raw is None else _ANY.decode(raw) for raw in (usage, groq)]):
        reported.add(fields)
        carried |= fields
    tier = completion.take_text("service_tier") if completion.is_text("service_tier") else None
    counts = reported.usage(prompt_tokens=0, output_tokens=0)
    return as_messages(counts, carried=carried, service_tier=SERVICE_TIER.get(tier or ""))


def _read_message(message: Fields, id: str, *, said: str, losses: Losses) -> list[Block]:
    """`said` is a refusal that is put into words."""
    thinking, text = read_content(message)
    text += said
    details = read_details(message)
    blocks = [block for detail in details if (block := block_of(detail)) is not None]
    for key in ("reasoning_content", "reasoning"):
        if (thought := message.take_text(key)) and not thinking and not blocks:
            thinking = thought
    if thinking and not blocks:
        blocks.append({"type": "thinking", "thinking": thinking, "signature": ""})
    citations = _read_citations(message, losses)
    if text:
        blocks.append({"type": "text", "text": text, **({"citations": citations} if citations else {})})
    elif citations:
        losses.add(message.name("annotations"))
    for index, call in enumerate(message.take_objects("tool_calls")):
        if (block := _read_call(call, f"{id}_{index}")) is not None:
            blocks.append(block)
    return blocks


def read_content(message: Fields) -> tuple[str, str]:
    """What was thought and what was said, of a message or a delta. Mistral puts both into one array of parts."""
    content = message.take_content("content")
    if isinstance(content, str):
        return "", content
    thinking, texts = [], []
    for part in content:
        kind = part.take_text("type") or ""
        if kind == "text":
            texts.append(part.take_text("text") or "")
        elif kind == "thinking":
            thinking += [piece.take_text("text") or "" for piece in part.take_objects("thinking")]
        else:
            part.lose_all(kind)
    return "".join(thinking), "".join(texts)


def _read_citations(message: Fields, losses: Losses) -> list[dict[str, Any]]:
    raw = message.take("annotations")
    found = []
    for at, annotation in enumerate(_ANYS.decode(raw) if raw is not None else ()):
        made = citation(annotation)
        if made is not None:
            found.append(made)
        else:
            losses.add(message.name(f"annotations[{at}].type"), value=str(annotation.get("type")))
    return found


def _read_call(call: Fields, id_otherwise: str) -> Block | None:
    """Its type is not asked: providers leave it out, or say "custom" of a function."""
    function = call.take_object("function")
    if function is None:
        call.lose_all(call.take_text("type") or "")
        return None
    id = anthropic_id(call.take_text("id") or id_otherwise)
    name = function.take_text("name") or ""
    spelled = function.take_text("arguments") or ""
    return {"type": "tool_use", "id": id, "name": name, "input": input_of(spelled)}


def input_of(arguments: str) -> Any:
    read = read_arguments(arguments)
    return read if read is not None else {UNREADABLE_ARGUMENTS: arguments}
