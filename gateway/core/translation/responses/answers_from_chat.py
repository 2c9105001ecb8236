"""A whole chat completion as a response."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import msgspec

from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.translation.answers_to_messages import EMPTY, read_content
from gateway.core.translation.fields import Fields, Losses, Translated, UnreadableAnswer, read_body, reading_answer
from gateway.core.translation.reasoning import read_details
from gateway.core.translation.responses.endings import ending
from gateway.core.translation.responses.items import flat_annotation, reasoning_items, response
from gateway.core.translation.responses.usage import TIERS, as_responses

_ANY: Final = msgspec.json.Decoder(Any)
_ANYS: Final = msgspec.json.Decoder(list[dict[str, Any]])
_NO_LOGPROBS: Final = {"logprobs": (b'{"content":null,"refusal":null}',)}

Item = dict[str, Any]


def chat_answer_to_responses(body: bytes, *, request: bytes | None = None) -> Translated:
    """The first choice; what a response cannot say is left out and listed. `request` is the caller's own, whose
    settings an answer repeats. Raises UnreadableAnswer."""
    losses = Losses(drop=True)
    with reading_answer():
        completion = read_body(body, losses)
        choices = completion.take_objects("choices")
        if not choices:
            raise UnreadableAnswer("The provider's answer cannot be read: `choices` is empty.", "choices")
        pieces = [choices[0], *[choice for choice in choices[1:] if choice.take_integer("index") == 0]]
        if len(choices) > len(pieces):
            losses.add("choices[1]")
        return Translated(msgspec.json.encode(_translate(completion, pieces, losses, request)), losses.dropped)


def _translate(completion: Fields, pieces: list[Fields], losses: Losses, request: bytes | None) -> dict[str, Any]:
    id = completion.take_text("id") or ""
    ids = item_ids(id)
    output: list[Item] = []
    for piece in pieces:
        message = piece.required("message", piece.take_object("message"))
        output += _read_message(message, _read_logprobs(piece), ids, losses)
    choice = pieces[0]
    kept = {key: choice.take_text(key) for key in ("native_finish_reason", "stop_reason") if choice.is_text(key)}
    made = response(
        id=id,
        created=int(completion.take_number("created") or 0),
        model=completion.take_text("model") or "",
        status="completed",
        request=request,
    )
    ends = ending(choice.take_text("finish_reason") or "", kept)
    made |= {"output": end_items(output, ends["status"]), **ends, "usage": _usage(completion)}
    if completion.is_text("service_tier") and (tier := completion.take_text("service_tier")) in TIERS:
        made["service_tier"] = tier
    return made


def item_ids(answer_id: str) -> Iterator[str]:
    """Of items that have none of their own, by the order in which they begin."""
    return (f"item_{answer_id}_{number}" for number in count())


def end_items(output: list[Item], status: str) -> list[Item]:
    """An answer that was cut off leaves its last item unfinished."""
    for at, item in enumerate(output):
        if "status" in item:
            item["status"] = status if at == len(output) - 1 else "completed"
    return output


def _usage(completion: Fields) -> dict[str, Any] | None:
    reported = ReportedUsage()
    usage, groq = completion.take("usage"), completion.take("x_groq")
    carried: dict[str, Any] = {}
    for fields in usage_objects(*[None if raw is None else _ANY.decode(raw) for raw in (usage, groq)]):
        reported.add(fields)
        carried |= fields
    if not carried:
        return None
    return as_responses(reported.usage(prompt_tokens=0, output_tokens=0), carried=carried)


def _read_logprobs(choice: Fields) -> list[dict[str, Any]]:
    choice.ignore_if(_NO_LOGPROBS)
    if (logprobs := choice.take_object("logprobs")) is None:
        return []
    raw = logprobs.take("content")
    return _ANYS.decode(raw) if raw is not None else []


def _read_message(message: Fields, logprobs: list[dict[str, Any]], ids: Iterator[str], losses: Losses) -> list[Item]:
    message.ignore_if(EMPTY)
    thinking, text = read_content(message)
    details: list[dict[str, Any]] = read_details(message)
    for key in ("reasoning_content", "reasoning"):
        if (thought := message.take_text(key)) and not thinking and not details:
            thinking = thought
    if thinking and not details:
        details = [{"type": "reasoning.text", "text": thinking}]
    output = reasoning_items(details, ids)
    parts: list[Item] = []
    annotations = _read_annotations(message, losses)
    if text:
        parts.append(output_text(text, annotations, logprobs))
    elif annotations:
        losses.add(message.name("annotations"))
    if refusal := message.take_text("refusal"):
        parts.append({"type": "refusal", "refusal": refusal})
    if parts:
        output.append(spoken(next(ids), parts))
    for call in message.take_objects("tool_calls"):
        if (item := _read_call(call, ids)) is not None:
            output.append(item)
    message.ignore("role")
    message.close()
    return output


def _read_annotations(message: Fields, losses: Losses) -> list[dict[str, Any]]:
    raw = message.take("annotations")
    found = []
    for at, annotation in enumerate(_ANYS.decode(raw) if raw is not None else ()):
        if (made := flat_annotation(annotation)) is not None:
            found.append(made)
        else:
            losses.add(message.name(f"annotations[{at}].type"), value=str(annotation.get("type")))
    return found


def _read_call(call: Fields, ids: Iterator[str]) -> Item | None:
    """Its type is not asked: providers leave it out, or say "custom" of a function."""
    function = call.take_object("function")
    if function is None:
        call.lose_all(call.take_text("type") or "")
        return None
    id = next(ids)
    name, arguments = function.take_text("name") or "", function.take_text("arguments") or "{}"
    return function_call(id, call.take_text("id") or id, name, arguments)


def output_text(text: str, annotations: list[dict[str, Any]], logprobs: list[dict[str, Any]]) -> Item:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def spoken(id: str, parts: list[Item]) -> Item:
    return {"id": id, "type": "message", "status": "completed", "role": "assistant", "content": parts}


def function_call(id: str, call_id: str, name: str, arguments: str) -> Item:
    return {
        "id": id,
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }
