"""/api/openapi.json is a valid document that says all of every endpoint, and /api/docs shows it."""

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import msgspec
import schemathesis
from markupsafe import escape
from schemathesis.core.result import Ok

from gateway.edge.api.documentation import prose
from gateway.edge.api.endpoint import Endpoint
from gateway.edge.api.examples import example_of
from gateway.edge.api.table import ENDPOINTS
from tests.edge.conftest import House

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "a", "nav", "code", "span"),
    *("details", "summary", "table", "tr", "th", "td"),
}
"""What the page is made of: no text of the document is taken for any other."""


async def document_of(house: House) -> Any:
    answer = await house.ask("GET", "/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def operations_of(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


async def test_the_document_is_valid(house: House) -> None:
    schema = schemathesis.openapi.from_dict(await document_of(house))
    schema.validate()
    assert [result for result in schema.get_all_operations() if not isinstance(result, Ok)] == []


async def test_every_operation_is_described_with_all_that_goes_with_it(house: House) -> None:
    document = await document_of(house)
    operations = list(operations_of(document))
    assert len(operations) == len(ENDPOINTS)
    ids = Counter(operation["operationId"] for _, _, operation in operations)
    assert max(ids.values()) == 1
    for method, path, operation in operations:
        place = method, path
        assert operation["summary"], place
        assert operation["tags"], place
        headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (method != "get"), place
        assert all(one["description"] for one in operation["parameters"]), place
        if "requestBody" in operation:
            assert operation["requestBody"]["description"], place
        [done] = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert ("Idempotent-Replayed" in done["headers"]) == (method != "get"), place
        assert {"400", "401", "403", "429", "503"} <= operation["responses"].keys(), place
        assert ("X-Tollgate-Reason" in headers) == (method != "get"), place


async def test_what_can_be_bound_to_a_version_tells_it(house: House) -> None:
    operations = list(operations_of(await document_of(house)))
    bound = {
        path: method
        for method, path, operation in operations
        if "If-Match" in {one["name"] for one in operation["parameters"]}
    }
    told = {path for _, path, operation in operations if any("ETag" in _headers(one) for one in _answers(operation))}
    assert {
        "/api/orgs/{org_id}/users/{user_id}",
        "/api/orgs/{org_id}/keys/{key_id}",
        "/api/orgs/{org_id}/accounts/{account_id}",
        "/api/orgs/{org_id}/policy",
        "/api/orgs/{org_id}/budgets",
        "/api/orgs/{org_id}/budgets/{budget_id}",
        "/api/orgs/{org_id}/allocation-rules/{role}",
        "/api/credits/tier",
        "/api/credits/pricing",
        "/api/credits/pricing/{provider}/{model}",
        "/api/credits/markups/all",
        "/api/credits/markups/plans/{plan_id}",
        "/api/credits/markups/orgs/{org_id}",
    } == bound.keys()
    # A budget's tag is in the list of them, beside what is used of it.
    assert bound.keys() - told == {"/api/orgs/{org_id}/budgets/{budget_id}"}


async def test_texts_below_fields_are_in_the_document(house: House) -> None:
    schemas = (await document_of(house))["components"]["schemas"]
    assert schemas["NewKey"]["properties"]["models"]["description"] == "The only models it may use; null allows all."
    inherited = schemas["BalanceView"]["properties"]["balance_ucr"]["description"]
    assert inherited == "Posted; includes what is held."


async def test_what_goes_together_is_in_the_document_and_on_the_page(house: House) -> None:
    schemas = (await document_of(house))["components"]["schemas"]
    by_feature, by_amount = schemas["NewDeduction"]["oneOf"]
    assert by_feature == {
        "title": "with feature, without amount and reason",
        "properties": {"feature": {"not": {"type": "null"}}, "amount": False, "reason": {"type": "null"}},
        "required": ["feature"],
    }
    assert by_amount["properties"]["quantity"] == {"const": 1}
    for name in (
        "Addition",
        "BudgetTerms",
        "Cost",
        "NewAccount",
        "NewReservation",
        "NewUsage",
        "RuleBody",
        "Validation",
    ):
        assert len(schemas[name]["oneOf"]) > 1, name
    page = (await house.ask("GET", "/api/docs")).body.decode()
    assert "One of: with feature, without amount and reason; with amount and reason" in page


async def test_the_page_shows_every_operation(house: House) -> None:
    answer = await house.ask("GET", "/api/docs")
    page = answer.body.decode()
    document = await document_of(house)
    for _, path, operation in operations_of(document):
        assert f'<span class="path">{escape(path)}</span> {prose(operation["summary"])}' in page
        assert f'<details id="{operation["operationId"]}">' in page
    for name in document["components"]["schemas"]:
        assert f'<details id="type-{name}">' in page
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "None" not in reader.words
    assert reader.tags == TAGS


async def test_an_operation_lists_the_errors_that_it_can_answer(house: House) -> None:
    document = await document_of(house)
    assert document["servers"]
    for method, path, operation in operations_of(document):
        place, told = (method, path), operation["responses"].keys()
        headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        assert ("422" in told) == ("409" in told) == ("Idempotency-Key" in headers), place
        assert ("412" in told) == ("If-Match" in headers), place
        assert ("413" in told) == ("requestBody" in operation), place
        assert ("404" in told) or "{" not in path, place
    paths = document["paths"]
    assert "402" in paths["/api/credits/deduct"]["post"]["responses"]
    assert "402" not in paths["/api/orgs/{org_id}/keys"]["post"]["responses"]
    assert "404" not in paths["/api/plans"]["get"]["responses"]
    problem = document["components"]["schemas"]["Problem"]
    assert {"limit_source", "available", "required"} <= problem["properties"].keys()
    assert not {"limit_source", "available", "required"} & {*problem["required"]}


async def test_the_page_links_types_shows_examples_and_lists_the_errors(house: House) -> None:
    page = (await house.ask("GET", "/api/docs")).body.decode()
    document = await document_of(house)
    for name in set(re.findall(r'<a href="#type-([\w.]+)">', page)):
        assert f'<details id="type-{name}">' in page, name
    assert 'list of <a href="#type-KeyView">KeyView</a>' in page
    assert "`" not in page
    for status in document["components"]["responses"]:
        assert f'<td id="error-{status}">' in page
    bodies = sum("requestBody" in operation for _, _, operation in operations_of(document))
    assert page.count('<code class="example">') > bodies
    # An example is what the endpoint takes.
    components = document["components"]["schemas"]
    for endpoint in ENDPOINTS:
        if endpoint.body is not None:
            schema = {"$ref": f"#/components/schemas/{_body_of(document, endpoint)}"}
            msgspec.json.decode(msgspec.json.encode(example_of(schema, components)), type=endpoint.body)


def _body_of(document: Any, endpoint: Endpoint) -> str:
    operation = document["paths"][endpoint.plain_path][endpoint.method.lower()]
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert isinstance(name, str)
    return name


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.update(data.split())


def _answers(operation: Any) -> list[Any]:
    return list(operation["responses"].values())


def _headers(answer: Any) -> Any:
    return answer.get("headers", {})
