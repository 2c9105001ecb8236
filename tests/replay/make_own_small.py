"""Writes the recordings of the smaller dialects: invented answers in the shapes of OpenAI, Cohere, Voyage and Mistral.

Run it after a change: python -m tests.replay.make_own_small. A test holds files and script together.
"""

import json
from typing import Any, Final

from gateway.core.dialect import DialectName
from gateway.replay.recordings import OWN_RECORDINGS

CREATED: Final = 1_767_225_600
VECTOR: Final = [0.0123, -0.25, 1e-05]
TIDES: Final = ["High water is at noon.", "The owl pays no rent.", "Low water is at six."]


def row(kind: DialectName, id: str, request: dict[str, Any], body: object, *, status: int = 200) -> dict[str, Any]:
    return {
        "id": f"own-{id}",
        "kind": kind,
        "host": "api.example",
        "request": request,
        "status": status,
        "headers": {"content-type": "application/json"},
        "body": body if isinstance(body, str) else json.dumps(body, indent=2),
        "source": "invented",
    }


def embeddings() -> list[dict[str, Any]]:
    def answer(model: str, vectors: int, **usage: int) -> dict[str, Any]:
        data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(vectors)]
        return {"object": "list", "data": data, "model": model, "usage": usage}

    def asked(model: str, value: object, **fields: Any) -> dict[str, Any]:
        return {"model": model, "input": value, **fields}

    kind: DialectName = "openai-embeddings"
    small, voyage, mistral = "text-embedding-3-small", "voyage-3.5", "mistral-embed"
    whole = {"prompt_tokens": 10, "total_tokens": 10, "completion_tokens": 0}
    unknown = {"error": {"message": "too long", "type": "invalid_request_error", "param": None, "code": None}}
    return [
        row(kind, "embedding", asked(small, TIDES[0]), answer(small, 1, prompt_tokens=6, total_tokens=6)),
        row(kind, "embedding-batch", asked(small, TIDES), answer(small, 3, prompt_tokens=17, total_tokens=17)),
        row(kind, "embedding-numbers", asked(small, [[7, 8], [9]]), answer(small, 2, prompt_tokens=3, total_tokens=3)),
        row(kind, "embedding-total", asked(voyage, TIDES, input_type="document"), answer(voyage, 3, total_tokens=18)),
        row(kind, "embedding-mistral", asked(mistral, TIDES[:2]), answer(mistral, 2, **whole)),
        row(kind, "embedding-refused", asked(small, "x" * 40), unknown, status=400),
    ]


def embed() -> list[dict[str, Any]]:
    request = {"model": "embed-v4.0", "texts": TIDES[:2], "input_type": "search_query", "embedding_types": ["float"]}
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 11, "image_tokens": 0}}
    body = {"id": "own", "texts": TIDES[:2], "embeddings": {"float": [VECTOR, VECTOR]}, "meta": meta}
    return [row("cohere-embed", "embed", request, body)]


def rankings() -> list[dict[str, Any]]:
    results = [{"index": 0, "relevance_score": 0.87}, {"index": 2, "relevance_score": 0.31}]
    cohere = {"model": "rerank-v3.5", "query": "When is high water?", "documents": TIDES, "top_n": 2}
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    many = {**cohere, "documents": TIDES * 50}
    voyage = {"model": "rerank-2.5", "query": "When is high water?", "documents": TIDES, "top_k": 2}
    told = {"object": "list", "data": results, "model": "rerank-2.5", "usage": {"total_tokens": 35}}
    two = {**meta, "billed_units": {"search_units": 2}}
    return [
        row("rerank", "ranking", cohere, {"id": "own", "results": results, "meta": meta}),
        row("rerank", "ranking-units", many, {"id": "own", "results": results, "meta": two}),
        row("rerank", "ranking-tokens", voyage, told),
    ]


def moderations() -> list[dict[str, Any]]:
    verdict = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.0001}}
    model = "omni-moderation-latest"
    body = {"id": "modr-own", "model": model, "results": [verdict]}
    return [row("openai-moderations", "moderation", {"model": model, "input": TIDES[0]}, body)]


def completions() -> list[dict[str, Any]]:
    model = "gpt-3.5-turbo-instruct"

    def answer(**more: Any) -> dict[str, Any]:
        return {"id": "cmpl-own", "object": "text_completion", "created": CREATED, "model": model, **more}

    def choice(text: str, finish: str | None, index: int = 0) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}

    def usage(prompt: int, output: int) -> dict[str, int]:
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    kind: DialectName = "openai-completions"
    asked = {"model": model, "prompt": "High water is", "max_tokens": 8}
    best = {**asked, "prompt": ["High", "Low"], "n": 1, "best_of": 3}
    streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}
    events = [answer(choices=[choice(text, None)]) for text in (" at", " noon", ", or at “zwölf”")]
    events += [answer(choices=[choice("", "stop")]), answer(choices=[], usage=usage(3, 7))]
    stream = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events) + "data: [DONE]\n\n"
    echoed = {**asked, "echo": True}
    several = [choice(" water", "length"), choice(" tide", "stop", 1)]
    rows = [
        row(kind, "completion", asked, answer(choices=[choice(" at noon.", "stop")], usage=usage(3, 4))),
        row(kind, "completion-best", best, answer(choices=several, usage=usage(2, 19))),
        row(kind, "completion-echo", echoed, answer(choices=[choice("High water is at", "length")], usage=usage(3, 1))),
        row(kind, "completion-stream", streamed, stream),
        row(
            kind,
            "completion-unreported",
            {**asked, "prompt": "x"},
            answer(choices=[choice("sixteen letters.", "stop")]),
        ),
    ]
    rows[3]["headers"] = {"content-type": "text/event-stream"}
    return rows


FILES: Final = {
    OWN_RECORDINGS / "openai-embeddings.jsonl": embeddings,
    OWN_RECORDINGS / "cohere-embed.jsonl": embed,
    OWN_RECORDINGS / "rerank.jsonl": rankings,
    OWN_RECORDINGS / "openai-moderations.jsonl": moderations,
    OWN_RECORDINGS / "openai-completions.jsonl": completions,
}


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in rows)


if __name__ == "__main__":
    for file, rows in FILES.items():
        file.write_text(lines(rows()), encoding="utf-8")
