"""A call goes only where its dialect is spoken."""

from gateway.relay.catalogue import Alias
from tests.provider import Provider
from tests.road import Roads, chat, upstream_at

OURS = Alias("ours", (("main", "dear"), ("spare", "plain")))
MESSAGES_ALONE = frozenset({"anthropic-messages"})


async def test_a_model_that_is_served_in_another_dialect_alone_is_refused_by_name(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=MESSAGES_ALONE))
    for request in (chat(), chat(stream=True)):
        answer = await road.ask(request)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "dialect_not_spoken", "model")
        assert "`openai-chat`" in answer.error["message"]
        assert "`anthropic-messages`" in answer.error["message"]
    assert await road.books() == []
    assert (await provider.sent())["calls"] == []


async def test_targets_that_do_not_speak_the_dialect_are_passed_over(roads: Roads, provider: Provider) -> None:
    road = await roads.open(
        upstream_at("http://127.0.0.1:9/v1", dialects=MESSAGES_ALONE),
        upstream_at(provider.base_url, "spare"),
        aliases=(OURS,),
    )
    answer = await road.ask(chat(model="ours"))
    assert answer.status == 200
    assert answer.headers["x-tollgate-upstream"] == "spare"
    (call,) = await road.books()
    assert call.upstream_model == "plain"
