"""Models that are for some organisations alone, and those that somebody tuned for himself."""

from decimal import Decimal

import msgspec

from gateway.core.caller import KeyKind
from gateway.pricing.book import PriceBook, PriceOverride
from gateway.relay.catalogue import Alias, Served, build_catalogue
from gateway.upstream.providers import PROVIDERS
from gateway.upstream.registry import Upstream
from tests.provider import Provider
from tests.relay.messages import COUNT_TOKENS, MESSAGES, message, speaking_messages
from tests.road import Roads, chat, upstream_at

TUNED = "ft:gpt-4o-mini-2024-07-18"


async def test_a_model_of_another_organisation_is_none(roads: Roads, provider: Provider) -> None:
    ours = Alias("ours", (("main", "plain"),))
    road = await roads.open(
        upstream_at(provider.base_url), speaking_messages(provider.base_url, "other"), aliases=(ours,)
    )
    entry = road.gateway.offers.catalogue.route("ours")
    assert (await road.ask(chat("ours"))).status == 200
    catalogue = road.gateway.offers.catalogue
    for admitted, status in ((frozenset({road.org.org_id}), 200), (frozenset[object](), 404)):
        catalogue._entries["ours"] = msgspec.structs.replace(entry, orgs=admitted)
        answer = await road.ask(chat("ours"))
        assert answer.status == status
        assert (await road.ask(message("ours"), path=MESSAGES)).status == status
        listed = [model["id"] for model in (await road.get("/v1/models")).json["data"]]
        assert ("ours" in listed) is (status == 200)
        assert (await road.get("/v1/models/ours")).status == status
        assert ((await road.ask(message("ours"), path=COUNT_TOKENS)).status == 404) is (status == 404)
    sandbox = await road.new_key(kind=KeyKind.SANDBOX)
    assert (await road.ask(chat("ours"), key=sandbox)).status == 403, "nothing replays here"
    assert answer.error["code"] == "model_not_found"


def test_a_tuned_model_is_served_where_the_operator_names_it_and_nowhere_else() -> None:
    openai = Upstream(name="openai", provider="openai", base_url=PROVIDERS["openai"].base_url, api_key="")
    book = PriceBook.load(credits_per_usd=Decimal(1000))
    assert book.find("openai", TUNED) is not None

    def serves(served: Served, *aliases: Alias, book: PriceBook = book) -> bool:
        names = {entry.name for entry in build_catalogue([served], aliases, book).models()}
        return bool(names & {TUNED, "mine"})

    assert not serves(Served(openai))
    assert serves(Served(openai, (TUNED,)))
    assert serves(Served(openai, ()), Alias("mine", (("openai", TUNED),)))
    priced = PriceOverride(
        provider="openai", model=TUNED, input_usd_per_million=Decimal(1), output_usd_per_million=Decimal(1)
    )
    assert serves(Served(openai), book=PriceBook.load(overrides=[priced], credits_per_usd=Decimal(1000)))
