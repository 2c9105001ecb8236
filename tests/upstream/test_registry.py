import pytest

from gateway.upstream.registry import Timeouts, Upstream


def upstream(**changes: object) -> Upstream:
    fields: dict[str, object] = {
        "name": "main",
        "provider": "openai",
        "base_url": "https://api.example/v1",
        "api_key": "sk-very-secret",
    }
    return Upstream(**{**fields, **changes})  # type: ignore[arg-type]


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(upstream(headers=(("x-team", "hidden-too"),)))
    assert "sk-very-secret" not in shown
    assert "hidden-too" not in shown


def test_a_trailing_slash_of_the_base_url_is_dropped() -> None:
    assert upstream(base_url="https://api.example/v1/").base_url == "https://api.example/v1"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.example/v1",
        "ftp://api.example",
        "https://",
        "https://user:pw@api.example",
        "https://api.example/v1?key=1",
        "https://api.example/v1#part",
        "https://api.example/\r\nx: y",
    ],
)
def test_an_address_that_could_mislead_a_credential_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        upstream(base_url=base_url)


@pytest.mark.parametrize("header", [("x y", "v"), ("", "v"), ("x", "a\r\nb: c"), ("x", "\x00")])
def test_a_header_that_would_break_the_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="headers"):
        upstream(headers=(header,))


@pytest.mark.parametrize("name", ["Host", "authorization", "Content-Length", "accept-encoding"])
def test_headers_of_the_gateway_cannot_be_overridden(name: str) -> None:
    with pytest.raises(ValueError, match="set by the gateway"):
        upstream(headers=((name, "v"),))


def test_the_header_of_the_key_cannot_be_overridden() -> None:
    with pytest.raises(ValueError, match="set by the gateway"):
        upstream(auth_header="x-api-key", headers=(("X-API-Key", "v"),))


def test_an_upstream_that_speaks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="dialects"):
        upstream(dialects=frozenset())


def test_a_key_with_a_line_end_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="api_key") as refusal:
        upstream(api_key="sk-very\nsecret")
    assert "very" not in str(refusal.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_never_ends_or_never_begins_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"timeouts\.idle_s"):
        Timeouts(idle_s=seconds)
