"""/api/credits/transactions, /history and /export: lists that can be walked, narrowed, and taken along."""

import csv
import io
import uuid
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from gateway.edge import rooms
from gateway.edge.api.export import COLUMNS, plain
from gateway.ledger.calls import End, Ending, Held, Wish
from gateway.usage import transactions
from tests.edge.conftest import House, instant
from tests.edge.test_api_credits import add
from tests.postgres.outage import Outage


async def call(house: House, org: UUID, cost_ucr: int | None, *, model: str = "gpt-5", **facts: Any) -> UUID:
    """One that is held, and where it has a cost, ended."""
    id = house.app[rooms.IDS].next()
    wish = Wish(
        id=id,
        org_id=org,
        account_ids=(org,),
        key_id=facts.get("key_id"),
        user_id=facts.get("user_id"),
        model=model,
        amount_ucr=100,
        learned_ucr=100,
        prompt_ucr=0,
    )
    assert isinstance(await house.ledger.reserve(wish), Held)
    if cost_ucr is not None:
        house.ledger.settle(
            Ending(
                id=id,
                org_id=org,
                account_id=org,
                end=End.OK,
                delivered=True,
                cost_ucr=cost_ucr,
                numerator=cost_ucr * 1_000_000,
                lines=b'[["output",%d,1000000]]' % cost_ucr,
                model=model,
                upstream="openai",
                status=200,
                prompt_tokens=11,
                output_tokens=cost_ucr,
                **facts,
            )
        )
    return id


async def listed(house: House, org: UUID, query: str = "", path: str = "transactions") -> Any:
    answer = await house.operate("GET", f"/api/credits/{path}?organization_id={org}{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_calls_row_says_what_it_was(house: House) -> None:
    org = await house.new_org(credits="1")
    id = await call(house, org, 7, model="openai/gpt-5")
    (row,) = (await listed(house, org, "&type=USAGE"))["data"]
    assert instant(row.pop("created_at")) <= instant(row.pop("posted_at"))
    assert row == {
        "id": str(id),
        "account_id": str(org),
        "kind": "CHARGE",
        "transaction_type": "USAGE",
        "reason": "MODEL_USAGE",
        "description": "",
        "actor": None,
        "amount_ucr": -7,
        "amount": "-0.000007",
        "balance_after_ucr": 999_993,
        "balance_after": "0.999993",
        "reference_id": None,
        "tags": None,
        "end": "ok",
        "user_id": None,
        "key_id": None,
        "model": "openai/gpt-5",
        "feature": None,
        "prompt_tokens": 11,
        "output_tokens": 7,
        "cost_ucr": 7,
        "overage_ucr": 0,
        "waived_ucr": 0,
    }


async def test_filters_come_together(house: House) -> None:
    org, key, user = await house.new_org(credits="1"), uuid.uuid4(), uuid.uuid4()
    one = await call(house, org, 1, model="a", key_id=key)
    two = await call(house, org, 2, model="b", user_id=user)

    async def found(query: str) -> list[str]:
        return [row["id"] for row in (await listed(house, org, query))["data"]]

    assert await found("&type=USAGE") == [str(two), str(one)]
    assert await found("&model=a") == await found(f"&key={key}") == [str(one)]
    assert await found(f"&user={user}&model=b&reason=MODEL_USAGE") == [str(two)]
    assert await found(f"&user={user}&model=a") == []
    assert len(await found("&type=PURCHASE&reason=MANUAL_ADJUSTMENT")) == 1
    assert await found("&tag=nightly") == []
    assert len(await found("&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00%2B01:00")) == 3
    assert await found("&to=2020-01-01T00:00:00Z") == []


async def test_pages_lead_to_each_other(house: House) -> None:
    org = await house.new_org()
    for amount in range(1, 6):
        await add(house, org, amount)
    for order, whole in (
        ("", [5, 4, 3, 2, 1]),
        ("&order_direction=asc", [1, 2, 3, 4, 5]),
        ("&order_by=amount", [5, 4, 3, 2, 1]),
    ):
        amounts: list[int] = []
        page = await listed(house, org, f"&limit=2{order}")
        assert page["total"] == 5
        while True:
            amounts += [row["amount_ucr"] // 1_000_000 for row in page["data"]]
            if page["next_cursor"] is None:
                break
            page = await listed(house, org, f"&limit=2{order}&cursor={page['next_cursor']}")
            assert page["total"] is None
        assert amounts == whole


async def test_a_query_that_cannot_be_answered_is_refused_by_its_field(house: House) -> None:
    org = await house.new_org()
    await add(house, org, 1)
    await add(house, org, 2)
    cursor = (await listed(house, org, "&limit=1"))["next_cursor"]
    log = (await house.operate("GET", f"/api/audit-log?organization_id={org}&limit=1")).json["next_cursor"]
    for path, query, field in [
        ("transactions", f"cursor={cursor}&order_direction=asc", "cursor"),
        ("transactions", f"cursor={cursor}&order_by=amount", "cursor"),
        ("transactions", f"cursor={log}", "cursor"),
        ("transactions", "cursor=x", "cursor"),
        ("transactions", "cursor=%00", "cursor"),
        ("transactions", f"cursor={'A' * 36}", "cursor"),
        ("transactions", f"cursor={'A' * 65}", "cursor"),
        ("transactions", f"cursor={cursor}&offset=1", "offset"),
        ("transactions", "offset=10001", "offset"),
        ("transactions", "include=everything", "include"),
        ("transactions", "type=purchase", "type"),
        ("transactions", "key=x", "key"),
        ("transactions", "model=", "model"),
        ("transactions", "from=2026-11-01", "from"),
        ("transactions", "from=2026-11-01T00:00:00", "from"),
        ("transactions", "from=2026-11-02T00:00:00Z&to=2026-11-02T00:00:00Z", "to"),
        # Neither Unix times nor words for nothing, which would ask for more than was meant.
        *(("transactions", f"from={time}", "from") for time in ("1793491200", "0.5", "-1e3", "2026", "null", "")),
        *(("pricing", f"at={time}", "at") for time in ("0.5", "1793491200000", "Null")),
        ("export", "to=2000000000", "to"),
        ("transactions", "user=null", "user"),
        ("balance", "user_id=NULL", "user_id"),
        ("export", "limit=5", "limit"),
        ("export", "from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "to"),
        ("history", "order_by=amount", "order_by"),
        ("statistics", "from=2026-01-01&to=2026-12-31", "to"),
        ("statistics", "from=2026-01-02&to=2026-01-02", "to"),
        ("statistics", "from=9999-12-31", "from"),
        ("statistics", "to=0001-01-02", "to"),
        ("statistics", "from=yesterday", "from"),
        ("statistics", "group_by=hour", "group_by"),
        ("statistics", "limit=1001", "limit"),
    ]:
        answer = await house.operate("GET", f"/api/credits/{path}?organization_id={org}&{query}")
        assert (answer.status, answer.field) == (400, field), (path, query, answer.body)


async def test_open_reservations_are_shown_when_they_are_asked_for(house: House) -> None:
    org = await house.new_org(credits="1")
    id = await call(house, org, None, model="slow")
    assert "reservations" not in await listed(house, org)
    (held,) = (await listed(house, org, "&include=reservations"))["reservations"]
    assert (held["id"], held["held_ucr"], held["held"]) == (str(id), 100, "0.000100")
    assert (held["owner"], held["model"], held["expires_at"]) == ("instance", "slow", None)
    for query in ("&model=other", "&type=PURCHASE", "&reason=X", f"&key={uuid.uuid4()}", "&to=2020-01-01T00:00:00Z"):
        assert (await listed(house, org, f"&include=reservations{query}"))["reservations"] == []
    assert len((await listed(house, org, "&include=reservations&type=USAGE&model=slow"))["reservations"]) == 1


async def test_the_history_is_told_in_document_002s_words(house: House) -> None:
    org = await house.new_org()
    await add(house, org, 400, transaction_type="SUBSCRIPTION", reason="SUBSCRIPTION_REFILL", description="Explorer")
    await add(house, org, 5)
    id = await call(house, org, 9, model="gpt-4")
    page = await listed(house, org, path="history")
    assert (page["total"], page["next_cursor"]) == (3, None)
    assert [row["type"] for row in page["data"]] == ["usage", "purchase", "allocation"]
    used = page["data"][0]
    assert instant(used.pop("created_at"))
    assert used == {
        "id": str(id),
        "type": "usage",
        "amount": "-0.000009",
        "amount_ucr": -9,
        "balance": "404.999991",
        "balance_ucr": 404_999_991,
        "feature": "gpt-4",
        "description": "",
        "user_id": None,
    }
    first = await listed(house, org, "&limit=1", path="history")
    second = await listed(house, org, f"&limit=1&cursor={first['next_cursor']}", path="history")
    assert [row["type"] for row in second["data"]] == ["purchase"]


async def test_an_export_is_the_whole_list_as_csv(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "EXPORT_ROWS", 2)
    org = await house.new_org()
    for amount in range(1, 6):
        await add(house, org, amount, description=f'number {amount}, "quoted"\nnext line')
    await call(house, org, 3)
    answer = await house.operate("GET", f"/api/credits/export?organization_id={org}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="transactions-{org}.csv"'
    assert answer.headers["x-request-id"]
    lines = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert tuple(lines[0]) == COLUMNS
    assert [line["amount"] for line in lines] == [f"{n}.000000" for n in range(1, 6)] + ["-0.000003"]
    assert lines[0]["description"] == 'number 1, "quoted"\nnext line'
    assert (lines[-1]["model"], lines[-1]["cost"], lines[-1]["waived"]) == ("gpt-5", "0.000003", "0.000000")
    only = await house.operate("GET", f"/api/credits/export?organization_id={org}&type=USAGE")
    assert len(only.body.splitlines()) == 2
    nothing = await house.operate("GET", f"/api/credits/export?organization_id={org}&model=none")
    assert nothing.body == (",".join(COLUMNS) + "\r\n").encode()


async def test_a_spreadsheet_computes_nothing_of_an_export(house: House) -> None:
    org = await house.new_org()
    for text in ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1"):
        await add(house, org, 1, description=text)
    answer = await house.operate("GET", f"/api/credits/export?organization_id={org}")
    lines = csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    assert {line["description"][0] for line in lines} == {"'"}
    assert [plain(text) for text in (None, "", "a=b", "gpt-5")] == [None, "", "a=b", "gpt-5"]


async def test_an_export_that_cannot_go_on_does_not_end_as_if_it_were_whole(
    house: House, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "EXPORT_ROWS", 1)
    org = await house.new_org(credits="1")
    await add(house, org, 2)
    page, asked = transactions.Transactions.page, 0

    async def then_no_more(self: transactions.Transactions, *args: Any, **options: Any) -> transactions.Page:
        nonlocal asked
        asked += 1
        if asked == 2:
            await outage.begin()
        return await page(self, *args, **options)

    monkeypatch.setattr(transactions.Transactions, "page", then_no_more)
    with pytest.raises(aiohttp.ClientError):
        await house.operate("GET", f"/api/credits/export?organization_id={org}")
    answer = await house.operate("GET", f"/api/credits/export?organization_id={org}")
    assert answer.status == 503


async def test_an_organisations_key_reads_its_own_lists_alone(house: House) -> None:
    own, other = await house.new_org(credits="1"), await house.new_org(credits="1")
    key = await house.new_key(own)
    for path in ("balance", "transactions", "history", "statistics", "export"):
        assert (await house.ask("GET", f"/api/credits/{path}", key=key)).status == 200, path
        assert (await house.ask("GET", f"/api/credits/{path}?organization_id={other}", key=key)).status == 404, path
    assert (await house.ask("GET", "/api/audit-log", key=key)).status == 403


async def test_statistics_are_those_of_the_organisations_days(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="1")
    await pool.execute("INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, 'Pacific/Auckland')", org)
    await call(house, org, 3, model="a")
    await call(house, org, 4, model="b")
    answer = await listed(house, org, "&group_by=model", path="statistics")
    assert (answer["time_zone"], answer["group_by"], answer["complete"]) == ("Pacific/Auckland", "model", True)
    assert [(group["group"], group["calls"], group["cost_ucr"]) for group in answer["data"]] == [
        ("b", 1, 4),
        ("a", 1, 3),
    ]
    assert answer["total"] == {
        "calls": 2,
        "failed": 0,
        "prompt_tokens": 22,
        "cached_tokens": 0,
        "output_tokens": 7,
        "reasoning_tokens": 0,
        **{
            f"{name}_ucr": ucr
            for name, ucr in (("cost", 7), ("charged", 7), ("overage", 0), ("waived", 0), ("refunded", 0))
        },
        "cost": "0.000007",
        "charged": "0.000007",
        "overage": "0.000000",
        "waived": "0.000000",
        "refunded": "0.000000",
    }
    assert (await listed(house, org, "&group_by=model&limit=1", path="statistics"))["complete"] is False
    by_day = await listed(house, org, f"&from={answer['from']}&to={answer['to']}", path="statistics")
    assert [group["calls"] for group in by_day["data"]] == [2]
    past = await listed(house, org, "&to=2020-02-01", path="statistics")
    assert (past["from"], past["to"], past["data"], past["total"]["calls"]) == ("2020-01-02", "2020-02-01", [], 0)


async def test_a_balance_says_what_it_consists_of(house: House) -> None:
    org = await house.new_org()
    await add(house, org, 3, priority=90)
    await add(house, org, 2, transaction_type="BONUS", reason="WELCOME_BONUS", expires_at="2100-01-01T00:00:00Z")
    await call(house, org, 500_000)
    balance = await listed(house, org, path="balance")
    parts = [(part["kind"], part["priority"], part["remaining"], part["amount"]) for part in balance["grants"]]
    assert parts == [("bonus", 50, "1.500000", "2.000000"), ("prepaid", 90, "3.000000", "3.000000")]
    assert [part["expires_at"] for part in balance["grants"]] == ["2100-01-01T00:00:00Z", None]
    assert (balance["balance"], balance["granted"], balance["used"]) == ("4.500000", "5.000000", "0.500000")
    assert (balance["grants_complete"], balance["user_id"]) == (True, None)


async def test_a_users_balance_is_their_allocation(house: House, pool: asyncpg.Pool) -> None:
    org, user = await house.new_org(credits="5"), uuid.uuid4()
    await pool.execute(
        "INSERT INTO org_user (org_id, user_id, external_id, name, role) VALUES ($1, $2, 'a', 'A', 'member')", org, user
    )
    assert (await house.operate("GET", f"/api/credits/balance?organization_id={org}&user_id={user}")).status == 404
    await pool.execute("INSERT INTO account (org_id, account_id, kind, user_id) VALUES ($1, $2, 'user', $2)", org, user)
    balance = await listed(house, org, f"&user_id={user}", path="balance")
    assert (balance["user_id"], balance["balance_ucr"], balance["grants"]) == (str(user), 0, [])
    assert (await listed(house, org, path="balance"))["balance_ucr"] == 5_000_000
    nobody = await house.operate("GET", f"/api/credits/balance?organization_id={org}&user_id={uuid.uuid4()}")
    assert nobody.status == 404
