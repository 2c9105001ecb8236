"""Writes gateway/replay/recordings/gemini-generate.jsonl: invented talk in the shapes that Gemini's API answers in.

Run it after a change: python -m tests.replay.make_own_gemini. A test holds file and script together.
"""

import json
from typing import Any, Final

from gateway.replay.recordings import GEMINI, OWN_RECORDINGS

MODEL: Final = "gemini-2.5-flash"
JSON: Final = "application/json; charset=UTF-8"
SSE: Final = "text/event-stream"
TOOLS: Final = [
    {
        "functionDeclarations": [
            {
                "name": "tide_at",
                "description": "High and low water at a harbour.",
                "parameters": {"type": "OBJECT", "properties": {"harbour": {"type": "STRING"}}},
            }
        ]
    }
]


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


def usage(prompt: int, said: int, **more: int) -> dict[str, Any]:
    total = prompt + said + more.get("thoughtsTokenCount", 0) + more.get("toolUsePromptTokenCount", 0)
    told = {"promptTokenCount": prompt, "candidatesTokenCount": said, "totalTokenCount": total, **more}
    return {name: count for name, count in told.items() if count}  # as Google leaves out what is 0


def chunk(id: str, used: dict[str, Any], *parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": used, "modelVersion": MODEL, "responseId": f"own_{id}"}


def row(
    id: str, request: dict[str, Any], body: str, *, action: str = "generateContent", status: int = 200
) -> dict[str, Any]:
    streamed = action == "streamGenerateContent"
    return {
        "id": f"own-gemini-{id}",
        "kind": GEMINI,
        "host": "api.example",
        "path": f"/v1beta/models/{MODEL}:{action}{'?alt=sse' * streamed}",
        "request": request,
        "status": status,
        "headers": {"content-type": SSE if streamed else JSON},
        "body": body,
        "source": "invented",
    }


def whole(id: str, request: dict[str, Any], *parts: dict[str, Any], used: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(chunk(id, used, *parts, finish="STOP"), ensure_ascii=False, indent=2)
    return row(id, request, body)


def streamed(id: str, request: dict[str, Any], *chunks: dict[str, Any]) -> dict[str, Any]:
    body = "".join(f"data: {json.dumps(each, ensure_ascii=False)}\r\n\r\n" for each in chunks)
    return row(id, request, body, action="streamGenerateContent")


def rows() -> list[dict[str, Any]]:
    call = {"functionCall": {"name": "tide_at", "args": {"harbour": "Husum"}}, "thoughtSignature": "b3ds"}
    ran = [
        {"executableCode": {"language": "PYTHON", "code": "print(6 * 7)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
    ]
    thought = {"text": "Moon, then sun.", "thought": True}
    return [
        whole(
            "answer",
            asked("When is high water?"),
            {"text": "High water is at noon, and the owl knows it. 🌊"},
            used=usage(6, 14),
        ),
        whole("tool", asked("And in Husum?", tools=TOOLS), call, used=usage(48, 12, thoughtsTokenCount=31)),
        whole(
            "cached",
            asked("May I moor here?", systemInstruction={"parts": [{"text": "You keep the harbour's rules."}]}),
            {"text": "Until dusk."},
            used=usage(2_100, 4, cachedContentTokenCount=2_048),
        ),
        whole(
            "code",
            asked("What is six times seven?", tools=[{"codeExecution": {}}]),
            *ran,
            {"text": "42."},
            used=usage(9, 30, toolUsePromptTokenCount=77),
        ),
        row(
            "blocked",
            asked("How does one sink a ferry?"),
            json.dumps(
                {
                    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                    "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
                    "modelVersion": MODEL,
                    "responseId": "own_blocked",
                }
            ),
        ),
        streamed(
            "stream",
            asked("Tell me about the tide.", generationConfig={"thinkingConfig": {"includeThoughts": True}}),
            chunk("stream", usage(7, 0, thoughtsTokenCount=21), thought),
            chunk("stream", usage(7, 3, thoughtsTokenCount=21), {"text": "It comes "}),
            chunk("stream", usage(7, 6, thoughtsTokenCount=21), {"text": "twice a day, 潮."}),
            chunk("stream", usage(7, 6, thoughtsTokenCount=21), {"text": ""}, finish="STOP"),
        ),
        streamed(
            "stream-tool",
            asked("High water at Husum?", tools=TOOLS),
            chunk("stream-tool", usage(49, 12), call),
            chunk("stream-tool", usage(49, 12), {"text": ""}, finish="STOP"),
        ),
        streamed(
            "stream-error",
            asked("Tell me a story without an end."),
            chunk("stream-error", usage(9, 2), {"text": "Once upon "}),
            {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
        ),
        row(
            "not-found",
            asked("Hello?"),
            json.dumps({"error": {"code": 404, "message": "models/… is not found.", "status": "NOT_FOUND"}}),
            status=404,
        ),
    ]


FILE: Final = OWN_RECORDINGS / "gemini-generate.jsonl"


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in rows)


if __name__ == "__main__":
    FILE.write_text(lines(rows()), encoding="utf-8")
