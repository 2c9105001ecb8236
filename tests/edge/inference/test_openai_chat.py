"""Requests that are refused: the right status, type, code and param, before anything is reserved or sent."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.identity.keys import new_token
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, upstream_at

MESSAGES = [{"role": "user", "content": "hi"}]
BAD: list[tuple[bytes | dict[str, Any], str | None, str]] = [
    # body, param, code
    (b"", None, "invalid_request"),
    (b"{", None, "invalid_request"),
    (b"[]", None, "invalid_request"),
    (b"null", None, "invalid_request"),
    (b'{"model":"plain","messages":[{"role":"user","content":"\xff"}]}', None, "invalid_request"),
    (b"[" * 100_000, None, "invalid_request"),
    ({"messages": MESSAGES}, "model", "invalid_request"),
    ({"model": 5, "messages": MESSAGES}, "model", "invalid_request"),
    ({"model": "", "messages": MESSAGES}, "model", "invalid_request"),
    ({"model": "plain"}, "messages", "invalid_request"),
    ({"model": "plain", "messages": []}, "messages", "invalid_request"),
    ({"model": "plain", "messages": "hi"}, "messages", "invalid_request"),
    ({"model": "plain", "messages": [5]}, "messages", "invalid_request"),
    (chat(n=129), "n", "invalid_request"),
    (chat(n=0), "n", "invalid_request"),
    (chat(n=True), "n", "invalid_request"),
    (chat(n=1.5), "n", "invalid_request"),
    (chat(max_tokens=0), "max_tokens", "invalid_request"),
    (chat(max_tokens=-1), "max_tokens", "invalid_request"),
    (chat(max_tokens=2**31), "max_tokens", "invalid_request"),
    (chat(max_completion_tokens="5"), "max_completion_tokens", "invalid_request"),
    (chat(stream="yes"), "stream", "invalid_request"),
    (chat(stream=1), "stream", "invalid_request"),
    (chat(stream_options=True), "stream_options", "invalid_request"),
    (chat(models=["a"]), "models", "invalid_request"),
    (chat(Max_Tokens=5), "max_tokens", "invalid_request"),
    (chat(N=5), "n", "invalid_request"),
    (chat(Model="dear"), "model", "invalid_request"),
    (b'{"model":"plain","model":"dear","messages":[{"role":"user","content":"hi"}]}', "model", "invalid_request"),
    (b'{"model":"plain","mod\\u0065l":"dear","messages":[{"role":"user","content":"hi"}]}', "model", "invalid_request"),
    (b'{"n":1,"model":"plain","messages":[{"role":"user","content":"hi"}],"n":100}', "n", "invalid_request"),
    (chat("unpriced"), "model", "model_not_priced"),
]


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    return await roads.open(upstream_at(hostile.url("well_behaved")))


async def test_a_request_that_is_malformed_is_400_and_names_the_field(road: Road, hostile: HostileUpstream) -> None:
    for body, param, code in BAD:
        answer = await road.ask(body)
        error = answer.error
        seen = (answer.status, error["type"], error["param"], error["code"])
        assert seen == (400, "invalid_request_error", param, code), (body, error)
        assert "x-request-id" in answer.headers
        assert "x-should-retry" not in answer.headers
    assert hostile.requests == []
    assert await road.books() == []
    assert (await road.ask(chat())).status == 200


async def test_a_model_that_is_unknown_or_not_for_this_key_is_404(road: Road, hostile: HostileUpstream) -> None:
    narrow = await road.new_key(models=("dear",))
    for answer in (await road.ask(chat("no-such")), await road.ask(chat("plain"), key=narrow)):
        assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")
        assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
    assert (await road.ask(chat("dear"), key=narrow)).status == 200
    assert len(hostile.requests) == 1


async def test_a_key_that_is_missing_unknown_revoked_or_expired_is_401(road: Road, hostile: HostileUpstream) -> None:
    keys, org_id = road.gateway.keys, road.org.org_id
    revoked, revoked_key = await keys.create(org_id, name="revoked")
    await keys.revoke(org_id, revoked.key_id)
    _, expired_key = await keys.create(org_id, name="expired", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for key in ("", "nonsense", new_token(), revoked_key, expired_key):
        answer = await road.ask(chat(), key=key)
        assert (answer.status, answer.error["type"]) == (401, "invalid_request_error")
        assert answer.error["code"] == "invalid_api_key"
    for credential in ("Basic abc", road.key, "Bearer"):
        answer = await road.ask(chat(), key="", headers={"authorization": credential})
        assert answer.status == 401
    assert hostile.requests == []


async def test_a_key_that_is_revoked_between_two_calls_is_refused_at_the_second(road: Road) -> None:
    key, text = await road.gateway.keys.create(road.org.org_id, name="short-lived")
    assert (await road.ask(chat(), key=text)).status == 200
    await road.gateway.keys.revoke(road.org.org_id, key.key_id)
    assert (await road.ask(chat(), key=text)).status == 401


async def test_a_suspended_organisation_is_403_until_it_is_resumed(road: Road, hostile: HostileUpstream) -> None:
    assert (await road.ask(chat())).status == 200
    await road.gateway.orgs.suspend(road.org.org_id)
    answer = await road.ask(chat())
    assert (answer.status, answer.error["type"], answer.error["code"]) == (
        403,
        "invalid_request_error",
        "org_suspended",
    )
    assert len(hostile.requests) == 1
    await road.gateway.orgs.resume(road.org.org_id)


async def test_the_callers_account_never_reaches_the_provider(road: Road, hostile: HostileUpstream) -> None:
    answer = await road.ask(
        chat(),
        headers={
            "cookie": "session=secret",
            "openai-organization": "org-of-the-caller",
            "openai-project": "proj",
            "api-key": "secret",
            "x-api-key": "secret",
            "x-goog-api-key": "secret",
            "x-forwarded-for": "192.0.2.1",
            "accept-encoding": "gzip",
            "connection": "x-secret",
            "x-secret": "secret",
            "openai-beta": "assistants=v2",
            "x-stainless-lang": "python",
            "user-agent": "caller/1.0",
            "x-request-id": "the-callers-own",
        },
    )
    head = hostile.requests[0].head.decode().lower()
    assert head.startswith("post /well_behaved/v1/chat/completions http/1.1\r\n")
    names = {line.partition(":")[0] for line in head.strip().split("\r\n")[1:]}
    assert names == {
        "host",
        "authorization",
        "content-type",
        "accept-encoding",
        "content-length",
        "openai-beta",
        "x-stainless-lang",
        "user-agent",
        "x-request-id",
    }
    assert "authorization: bearer sk-of-the-operator\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert road.key.lower() not in head
    assert f"x-request-id: {answer.headers['x-request-id']}\r\n" in head
    assert answer.headers["x-client-request-id"] == "the-callers-own"
    assert answer.headers["x-request-id"] != "the-callers-own"


async def test_a_request_id_that_no_header_may_carry_is_not_given_back(road: Road) -> None:
    answer = await road.ask(chat(), headers={"x-request-id": "x" * 200})
    assert "x-client-request-id" not in answer.headers


async def test_the_operators_account_never_reaches_the_caller(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("says_whose_account_it_is")))
    for answer in (await road.ask(chat()), await road.ask(chat(stream=True))):
        assert answer.status == 200
        assert set(answer.headers) <= {
            "content-type",
            "content-length",
            "transfer-encoding",
            "cache-control",
            "x-accel-buffering",
            "date",
            "server",
            "openai-processing-ms",
            "x-request-id",
            "x-tollgate-model",
            "x-tollgate-upstream",
            "x-tollgate-credits-reserved",
            "x-tollgate-credits-available",
            "x-tollgate-credits-charged",
        }
        assert answer.headers["openai-processing-ms"] == "12"
        assert answer.headers["server"] == "tollgate"


async def test_the_configuration_widens_both_lists(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(
        upstream_at(hostile.url("says_whose_account_it_is")),
        headers_to_upstream=("X-Tenant",),
        headers_to_caller=("X-Ratelimit-Limit-Requests",),
    )
    answer = await road.ask(chat(), headers={"x-tenant": "blue"})
    assert b"x-tenant: blue\r\n" in hostile.requests[0].head
    assert answer.headers["x-ratelimit-limit-requests"] == "5000"


async def test_below_the_mark_an_answer_warns_of_the_low_balance(roads: Roads, hostile: HostileUpstream) -> None:
    served = upstream_at(hostile.url("well_behaved"))
    poor = await roads.open(served, credits="5", reserve={"low_balance_credits": 10})
    rich = await roads.open(served, credits="50", reserve={"low_balance_credits": 10})
    assert (await poor.ask(chat(max_tokens=5))).headers["x-tollgate-low-balance"] == "true"
    assert "x-tollgate-low-balance" not in (await rich.ask(chat(max_tokens=5))).headers


async def test_what_is_not_there_is_answered_in_the_dialect_of_its_path(road: Road) -> None:
    unknown = await road.get("/v1/no-such")
    assert (unknown.status, unknown.error["code"]) == (404, "unknown_url")
    wrong = await road.get("/v1/chat/completions")
    assert (wrong.status, wrong.error["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    problem = await road.get("/api/no-such")
    assert problem.headers["content-type"].startswith("application/problem+json")
    assert msgspec.json.decode(problem.body)["status"] == 404
    for answer in (unknown, wrong, problem):
        assert answer.headers["x-request-id"]


async def test_a_query_does_not_change_where_a_request_goes(road: Road, hostile: HostileUpstream) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat()).replace(b"completions HTTP", b"completions?api_key=secret HTTP"))
        assert (await wire.answer()).status == 200
    assert b"secret" not in hostile.requests[0].head
