"""`POST /v1beta/models/{model}:…` and its neighbours: who may ask, what is refused and how, what passes to whom."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.core.caller import KeyKind
from gateway.relay.counting import AT_ONCE_MAX
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.relay.gemini import generate, limited, path, speaking_gemini, stream
from tests.road import Road, Roads, until, upstream_at

EMBED = {"content": {"parts": [{"text": "hello"}]}}
COUNT = path("countTokens")
BATCH = path("batchEmbedContents")
TWICE = b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":5,"maxOutputTokens":500}}'


def config(**fields: Any) -> dict[str, Any]:
    return generate(generationConfig=fields)


BAD: list[tuple[str, bytes | dict[str, Any], str | None, str]] = [
    # path, body, field, reason
    (path(), b"", None, "INVALID_REQUEST"),
    (path(), b"[" * 100_000, None, "INVALID_REQUEST"),
    (path(), {}, "contents", "INVALID_REQUEST"),
    (path(), {"contents": []}, "contents", "INVALID_REQUEST"),
    (path(), {"contents": "hi"}, "contents", "INVALID_REQUEST"),
    (path(), {"contents": [{"parts": "hi"}]}, "contents[0].parts", "INVALID_REQUEST"),
    (path(), generate(Contents=[]), "generateContent", "INVALID_REQUEST"),
    (path(), generate(generation_config={}, generationConfig={}), "generateContent", "INVALID_REQUEST"),
    (path(), generate(GenerationConfig={}), "generateContent", "INVALID_REQUEST"),
    (path(), generate(generationConfig=5), "generationConfig", "INVALID_REQUEST"),
    (path(), config(maxOutputTokens=5, max_output_tokens=500), "generationConfig", "INVALID_REQUEST"),
    (path(), config(MaxOutputTokens=5), "generationConfig", "INVALID_REQUEST"),
    (path(), config(maxOutputTokens="5"), "generationConfig.maxOutputTokens", "INVALID_REQUEST"),
    (path(), config(maxOutputTokens=0), "generationConfig.maxOutputTokens", "INVALID_REQUEST"),
    (path(), config(max_output_tokens=5e9), "generationConfig.maxOutputTokens", "INVALID_REQUEST"),
    (path(), config(candidateCount=1000), "generationConfig.candidateCount", "INVALID_REQUEST"),
    (path(), config(responseModalities=[1]), "generationConfig.responseModalities", "INVALID_REQUEST"),
    (path(), config(routingConfig={"autoMode": {}}), "generationConfig.routingConfig", "INVALID_REQUEST"),
    (path(), config(modelSelectionConfig={}), "generationConfig.modelSelectionConfig", "INVALID_REQUEST"),
    (path(), TWICE, "generationConfig", "INVALID_REQUEST"),
    (path(), generate(model="models/dear"), "model", "INVALID_REQUEST"),
    (path(), generate(model=5), "model", "INVALID_REQUEST"),
    (path(), generate(serviceTier=1), "serviceTier", "INVALID_REQUEST"),
    (path(), generate(tools=5), "tools", "INVALID_REQUEST"),
    (path(), generate(tools=[{"fileSearch": {}}]), "tools[0].fileSearch", "UNKNOWN_ID"),
    (path(), generate(tools=[{"file_search": {}}]), "tools[0].fileSearch", "UNKNOWN_ID"),
    (path(), generate(cachedContent="cachedContents/1"), "cachedContent", "UNKNOWN_ID"),
    (path(), generate(cached_content="cachedContents/1"), "cachedContent", "UNKNOWN_ID"),
    (path(), generate(generateContentRequest={}), "generateContentRequest", "INVALID_REQUEST"),
    (path(query="alt=sse"), generate(), "alt", "INVALID_REQUEST"),
    (path("streamGenerateContent", query="alt=proto"), generate(), "alt", "INVALID_REQUEST"),
    (path("streamGenerateContent", query="alt=sse&$alt=json"), generate(), "alt", "INVALID_REQUEST"),
    (path(model="..%2f..%2ffiles"), generate(), "model", "INVALID_REQUEST"),
    (path(model="%70lain"), generate(), "model", "INVALID_REQUEST"),
    (path(model="../plain"), generate(), "model", "INVALID_REQUEST"),
    (path(model="a/../plain"), generate(), "model", "INVALID_REQUEST"),
    (path(model="plain:countTokens"), generate(), None, "MODEL_NOT_FOUND"),
    (path(model="x" * 300), generate(), "model", "INVALID_REQUEST"),
    (path(model="unpriced"), generate(), "model", "MODEL_NOT_PRICED"),
    (COUNT, {"generateContentRequest": generate(cachedContent="c")}, "cachedContent", "UNKNOWN_ID"),
    (COUNT, {"generate_content_request": generate(model="models/dear")}, "model", "INVALID_REQUEST"),
    (path("embedContent"), {}, "content", "INVALID_REQUEST"),
    (path("embedContent"), {**EMBED, "model": "models/dear"}, "model", "INVALID_REQUEST"),
    (BATCH, {"requests": []}, "requests", "INVALID_REQUEST"),
    (BATCH, {"requests": [EMBED] * 3_000}, "requests", "INVALID_REQUEST"),
    (BATCH, {"requests": [EMBED, {**EMBED, "model": "models/dear"}]}, "requests[1].model", "INVALID_REQUEST"),
    (BATCH, {"requests": [EMBED, {}]}, "requests[1].content", "INVALID_REQUEST"),
]
STORED = [
    "gs://bucket/film.mp4",
    "files/abc",
    "https://generativelanguage.googleapis.com/v1beta/files/abc",
    "https://GenerativeLanguage.GoogleAPIs.com./v1beta/files/abc",
    "https://x@generativelanguage.googleapis.com/v1beta/files/abc",
    "https://public.example\\@generativelanguage.googleapis.com/v1beta/files/abc",
    "https://generativelanguage.googleapis.com:443/v1beta/files/abc",
    "https://storage.cloud.google.com/bucket/film.mp4",
    "https://generativelanguage%2egoogleapis.com/v1beta/files/abc",
]


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    return await roads.open(speaking_gemini(hostile.url("well_behaved")))


def told(body: bytes) -> dict[str, Any]:
    document = msgspec.json.decode(body)
    assert body.startswith(b'{"error":'), "what the SDK for Python looks for in a stream"
    error = document["error"]
    assert set(error) == {"code", "message", "status", "details"}
    return dict(error)


def reason(error: dict[str, Any]) -> str:
    return str(error["details"][0]["reason"])


def field(error: dict[str, Any]) -> str | None:
    violations = [each for detail in error["details"] for each in detail.get("fieldViolations", ())]
    return violations[0]["field"] if violations else None


async def raw(road: Road, where: str, body: object, **headers: str) -> tuple[int, bytes]:
    """The path goes out as it is spelled, which an HTTP library would tidy up."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"POST {where} HTTP/1.1", "host: gateway", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    async with await road.connect() as wire:
        await wire.send("\r\n".join([*lines, "", ""]).encode() + data)
        answer = await wire.answer()
    return answer.status, answer.body


async def test_a_request_that_is_malformed_is_refused_and_names_the_field(road: Road, hostile: HostileUpstream) -> None:
    for where, body, named, why in BAD:
        status, answer = await raw(road, where, body, x_goog_api_key=road.key)
        error = told(answer)
        expected = (404, "NOT_FOUND") if why == "MODEL_NOT_FOUND" else (400, "INVALID_ARGUMENT")
        assert (status, error["status"]) == expected, (where, body, error)
        assert error["code"] == status
        assert (field(error) if named is not None else None, reason(error)) == (named, why), (where, body, error)
    assert hostile.requests == []
    assert await road.books() == []


async def test_files_of_the_provider_are_refused_and_public_ones_hold_the_window(
    road: Road, hostile: HostileUpstream
) -> None:
    for uri in STORED:
        for part in ({"fileData": {"fileUri": uri}}, {"file_data": {"file_uri": uri}}):
            response = {"functionResponse": {"name": "f", "response": {}, "parts": [part]}}
            for asked in (part, response):
                answer = await road.ask(generate(asked), path=path())
                assert (answer.status, reason(told(answer.body))) == (400, "UNKNOWN_ID"), uri
    assert hostile.requests == []
    for uri in ("https://youtu.be/x", "http://storage.googleapis.com/public/a.pdf", "https://a.example/?u=googleapis"):
        answer = await road.ask(generate({"fileData": {"fileUri": uri}}), path=path())
        assert answer.status == 200, uri


async def test_a_key_may_stand_in_three_places_but_not_two_different_ones(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    key, other = road.key, await road.new_key()
    good: list[tuple[str, dict[str, str]]] = [
        ("", {"x-goog-api-key": key}),
        ("", {"authorization": f"Bearer {key}"}),
        (f"key={key}", {}),
        (f"key={key}&key={key}", {"x-goog-api-key": key, "authorization": f"Bearer {key}"}),
    ]
    for query, headers in good:
        assert (await road.ask(limited(), path=path(query=query), key="", headers=headers)).status == 200
        async with road.session.get(f"{road.gateway.url}/v1beta/models?{query}", headers=headers) as response:
            assert (response.status == 200) == (query.count("key") < 2)
    bad: list[tuple[str, dict[str, str]]] = [
        ("", {}),
        ("key=", {}),
        ("key=nonsense", {}),
        ("", {"x-api-key": key}),
        (f"key={other}", {"x-goog-api-key": key}),
        (f"key={key}", {"authorization": f"Bearer {other}"}),
        (f"key={key}&key={other}", {}),
        ("&".join(f"a{n}=b" for n in range(200)), {}),
    ]
    for query, headers in bad:
        answer = await road.ask(limited(), path=path(query=query), key="", headers=headers)
        error = told(answer.body)
        assert (answer.status, error["status"]) == (401, "UNAUTHENTICATED"), query[:40]
        assert reason(error) == "INVALID_API_KEY"
        assert key not in error["message"]
    assert len(await road.books()) == len(good)


async def test_no_credential_and_nothing_of_the_query_passes(road: Road, hostile: HostileUpstream) -> None:
    await road.ask(
        limited(),
        path=path("streamGenerateContent", query=f"alt=sse&key={road.key}&fields=x&%24prettyPrint=1"),
        key="",
        headers={"x-goog-api-client": "google-genai", "x-goog-user-project": "theirs", "cookie": "session=secret"},
    )
    (request,) = hostile.requests
    head = request.head.decode().lower()
    first = "post /well_behaved/v1/models/plain:streamgeneratecontent?alt=sse http/1.1"
    assert head.partition("\r\n")[0] == first
    assert "\r\nx-goog-api-key: sk-of-the-operator\r\n" in head
    for word in (road.key.lower(), "authorization", "secret", "google-genai", "theirs", "fields"):
        assert word not in head


async def test_a_key_in_the_address_is_in_no_log(roads: Roads, provider: Provider, capfd: Any) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    for where in (path(), path("unknown"), path(model="a%2fb"), "/v1beta/models", "/v1beta/nothing", COUNT):
        await road.ask(generate(), path=f"{where}?key={road.key}", key="")
        await road.get(f"{where}?key={road.key}")
    async with await road.connect() as wire:
        await wire.send(f"POST {path()}?key={road.key} HTTP/9.9\r\nhost: x\r\n\r\n".encode())
        await wire.end()
    await road.tell()
    said = ""

    def told_of_the_call() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return '"route":"/v1beta/models/{model}:generateContent"' in said

    await until(told_of_the_call)
    assert road.key not in said


UNKNOWN = [
    "/v1beta",
    "/v1beta/",
    "/v1beta/files",
    "/v1beta/cachedContents",
    "/v1beta/openai/chat/completions",
    "/v1beta/tunedModels/x:generateContent",
    path("batchGenerateContent"),
    path("predict"),
    path("asyncBatchEmbedContent"),
    path("generatecontent"),
    path("generateContent/"),
    "/v1beta/models/plain%3AgenerateContent",
    "/v1beta//models/plain:generateContent",
    "/V1beta/models/plain:generateContent",
]


async def test_the_newer_version_is_served_beside_openais_models(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    key = {"x-goog-api-key": road.key}
    for where in ("generateContent", "streamGenerateContent"):
        answer = await road.ask(limited(), path=path(where, version="v1"), key="", headers=key)
        assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "main")
    for query, headers in (("", key), (f"?key={road.key}", {})):
        async with road.session.get(f"{road.gateway.url}/v1/models{query}", headers=headers) as response:
            assert "models" in msgspec.json.decode(await response.read())
        async with road.session.get(f"{road.gateway.url}/v1/models/plain{query}", headers=headers) as response:
            assert msgspec.json.decode(await response.read())["name"] == "models/plain"
        where = path("predictLongRunning", version="v1", query=query.removeprefix("?"))
        answer = await road.ask({}, path=where, key="", headers=headers)
        assert (answer.status, told(answer.body)["status"]) == (404, "NOT_FOUND")
    assert (await road.get("/v1/models")).json["object"] == "list"
    assert (await road.get("/v1/models/plain")).json["object"] == "model"
    assert (await road.get("/v1/models/plain", method="DELETE")).error["code"] == "method_not_allowed"


async def test_whatever_else_is_asked_of_it_is_not_found(road: Road, hostile: HostileUpstream) -> None:
    for where in UNKNOWN:
        status, body = await raw(road, where, generate(), x_goog_api_key=road.key)
        assert status == 404, where
        if where.startswith("/v1beta"):
            assert (told(body)["status"], reason(told(body))) == ("NOT_FOUND", "UNKNOWN_URL"), where
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await road.get(path(), method=method)
        expected = (404, "NOT_FOUND") if method == "GET" else (405, "UNIMPLEMENTED")
        assert (answer.status, told(answer.body)["status"]) == expected, method
    assert hostile.requests == []


async def test_an_answer_has_the_gateways_headers(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    for where in (path(), stream()):
        answer = await road.ask(limited(), path=where)
        headers = answer.headers
        assert headers["x-request-id"]
        assert headers["x-tollgate-model"] == "plain"
        assert headers["x-tollgate-upstream"] == "main"
        assert "x-tollgate-credits-reserved" in headers
        assert ("x-tollgate-credits-charged" in headers) == (where == path())


async def test_what_cannot_be_paid_says_what_would_fit(roads: Roads, provider: Provider) -> None:
    poor = await roads.open(speaking_gemini(provider.base_url), credits="0.001")
    answer = await poor.ask(limited(), path=path())
    error = told(answer.body)
    assert (answer.status, error["status"], reason(error)) == (402, "RESOURCE_EXHAUSTED", "INSUFFICIENT_CREDITS")
    assert error["details"][0]["metadata"]["limit_source"] == "org_pool"
    assert answer.headers["x-should-retry"] == "false"


async def test_what_may_work_a_little_later_says_when(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    road.gateway.relay._draining = True
    answer = await road.ask(limited(), path=path())
    road.gateway.relay._draining = False
    error = told(answer.body)
    assert (answer.status, error["status"]) == (503, "UNAVAILABLE")
    delays = [detail["retryDelay"] for detail in error["details"] if "retryDelay" in detail]
    assert delays == [f"{answer.headers['retry-after']}s"]


async def test_the_providers_own_errors_pass_and_trouble_with_our_key_does_not(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    for where, body in (
        (path(), limited()),
        (stream(), limited()),
        (COUNT, generate()),
        (BATCH, {"requests": [EMBED]}),
    ):
        for status in (400, 404, 413, 429, 500, 503):
            answer = await road.ask(body, path=where, x_replay_status=status)
            assert answer.status == status
            assert answer.json["error"]["message"].endswith("as x-replay-status asked.")
        ours = await road.ask(body, path=where, x_replay_status=401)
        assert (ours.status, told(ours.body)["status"]) == (502, "UNAVAILABLE")
    assert await road.spent_ucr() == 0


async def test_a_dialect_that_is_not_spoken(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=frozenset({"rerank"})))
    for where, body in ((path(), limited()), (COUNT, generate()), (path("embedContent"), EMBED)):
        answer = await road.ask(body, path=where)
        assert (answer.status, reason(told(answer.body))) == (400, "DIALECT_NOT_SPOKEN")
    assert (await road.get("/v1beta/models")).json == {"models": []}
    assert (await road.get("/v1beta/models/plain")).status == 400


# --- counting ---------------------------------------------------------------------------------------------------------


async def test_counting_is_free_for_who_may_call_the_model(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    whole = {"generateContentRequest": {**generate(), "model": "models/plain"}}
    for request in (generate(), whole):
        answer = await road.ask(request, path=COUNT, x_replay_prompt_tokens=123)
        assert (answer.status, answer.json) == (200, {"totalTokens": 123})
        assert answer.headers["x-tollgate-upstream"] == "main"
    narrow = await road.new_key(models=("dear",))
    management = await road.new_key(kind=KeyKind.MANAGEMENT)
    for key, status in ((narrow, 404), ("nonsense", 401), (management, 403)):
        assert (await road.ask(generate(), path=COUNT, key=key)).status == status
    assert await road.books() == []
    assert await road.spent_ucr() == 0


async def test_counting_takes_no_more_at_a_time_than_it_may(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(speaking_gemini(hostile.url("hangs_before_headers")))
    waiting = [asyncio.ensure_future(road.ask(generate(), path=COUNT)) for _ in range(AT_ONCE_MAX)]
    await until(lambda: len(hostile.requests) == AT_ONCE_MAX)
    answer = await road.ask(generate(), path=COUNT)
    assert (answer.status, told(answer.body)["status"]) == (429, "RESOURCE_EXHAUSTED")
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await until(lambda: not road.gateway._counting._open, "who is gone counts no longer")


# --- models -----------------------------------------------------------------------------------------------------------


async def test_models_come_page_by_page_in_googles_shape(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_gemini(provider.base_url))
    listed: list[str] = []
    token = ""
    while True:
        page = (
            await road.get(f"/v1beta/models?pageSize=2&pageToken={token}" if token else "/v1beta/models?pageSize=2")
        ).json
        assert len(page["models"]) <= 2
        listed += [model["name"] for model in page["models"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert listed == sorted(set(listed))
    assert "models/plain" in listed
    assert (await road.get("/v1beta/models/plain")).json == {
        "name": "models/plain",
        "displayName": "plain",
        "supportedGenerationMethods": [
            "generateContent",
            "streamGenerateContent",
            "countTokens",
            "embedContent",
            "batchEmbedContents",
        ],
        "inputTokenLimit": 8_000,
        "outputTokenLimit": 2_000,
    }
    for where in ("/v1beta/models/no-such", "/v1beta/models?pageSize=-1"):
        answer = await road.get(where)
        assert answer.status in (400, 404)
        assert told(answer.body)["code"] == answer.status
