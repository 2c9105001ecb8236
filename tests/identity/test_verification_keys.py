"""An issuer's keys are fetched ahead of need, kept while it is away, and never fetched because of one token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.core.errors import InvalidToken, TokensUncheckable, UpstreamBroken
from gateway.identity.verification_keys import KEYS_MAX, KeySet, KeySetSettings, read_key_set
from gateway.upstream.document import DOCUMENT_BYTES_MAX, fetch_document, may_be_fetched, read_document
from tests.fakes.clock import SteppedClock
from tests.fakes.hostile_upstream import client_tls, server_tls
from tests.fakes.issuer import Issuer

SETTINGS = KeySetSettings(fresh_s=600, retry_s=30, stale_max_s=3600)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def keys(issuer: Issuer, clock: SteppedClock) -> AsyncIterator[KeySet]:
    keys = KeySet(partial(fetch_document, issuer.url, timeout_s=5), clock=clock, settings=SETTINGS)
    yield keys
    await keys.stop()


async def fetched(issuer: Issuer, keys: KeySet) -> None:
    """Returns when no fetch is under way."""
    while keys._fetching is not None:
        await asyncio.shield(keys._fetching)


async def test_a_key_is_fetched_once_for_all_who_ask_for_it(keys: KeySet, issuer: Issuer) -> None:
    issuer.open.clear()
    asks = [asyncio.ensure_future(keys.find("RS256", "rsa-1")) for _ in range(50)]
    while not issuer.fetches:
        await asyncio.sleep(0)
    issuer.open.set()
    found = await asyncio.gather(*asks)
    assert {key.kid for key in found} == {"rsa-1"}
    assert not found[0].is_private
    assert (await keys.find("ES256", "ec-1")).kid == "ec-1"
    assert issuer.fetches == 1


async def test_a_flood_of_unknown_keys_causes_one_fetch_in_its_time(
    keys: KeySet, issuer: Issuer, clock: SteppedClock
) -> None:
    await keys.find("RS256", "rsa-1")
    for seconds, fetches in ((29, 1), (2, 2), (29, 2), (2, 3)):
        clock.step(seconds)
        floods = (keys.find("RS256", f"unknown-{number}") for number in range(200))
        refusals = await asyncio.gather(*floods, return_exceptions=True)
        assert {type(refusal) for refusal in refusals} == {InvalidToken}
        assert issuer.fetches == fetches


async def test_a_rotated_key_is_found_as_soon_as_a_token_names_it(
    keys: KeySet, issuer: Issuer, clock: SteppedClock
) -> None:
    await keys.find("RS256", "rsa-1")
    new = RSAKey.generate_key(2048, parameters={"kid": "rsa-2"})
    issuer.published = [new]
    clock.step(31)
    assert (await keys.find("RS256", "rsa-2")).kid == "rsa-2"
    with pytest.raises(InvalidToken):
        await keys.find("RS256", "rsa-1")


async def test_old_keys_are_renewed_in_the_background(keys: KeySet, issuer: Issuer, clock: SteppedClock) -> None:
    await keys.find("RS256", "rsa-1")
    clock.step(601)
    issuer.open.clear()
    assert (await keys.find("RS256", "rsa-1")).kid == "rsa-1"  # which waits for nobody
    while issuer.fetches < 2:
        await asyncio.sleep(0)
    issuer.published = [issuer.ec]
    issuer.open.set()
    await fetched(issuer, keys)
    with pytest.raises(InvalidToken):
        await keys.find("RS256", "rsa-1")


@pytest.mark.parametrize(
    "document", [None, b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AA"}]}']
)
async def test_keys_are_kept_while_the_issuer_fails_and_not_for_ever(
    keys: KeySet, issuer: Issuer, clock: SteppedClock, document: bytes | None
) -> None:
    await keys.find("RS256", "rsa-1")
    issuer.document, issuer.status = document, 200 if document is not None else 503
    for _ in range(5):
        clock.step(601)
        assert (await keys.find("RS256", "rsa-1")).kid == "rsa-1"
        await fetched(issuer, keys)
    assert issuer.fetches == 6
    clock.step(601)
    with pytest.raises(TokensUncheckable):
        await keys.find("RS256", "rsa-1")
    issuer.document, issuer.status = None, 200
    clock.step(31)
    assert (await keys.find("RS256", "rsa-1")).kid == "rsa-1"


async def test_without_a_first_set_nobody_can_tell(keys: KeySet, issuer: Issuer, clock: SteppedClock) -> None:
    issuer.status = 500
    for _ in range(3):
        with pytest.raises(TokensUncheckable):
            await keys.find("RS256", "rsa-1")
    assert issuer.fetches == 1


async def test_a_start_fetches_ahead(keys: KeySet, issuer: Issuer) -> None:
    keys.start()
    await fetched(issuer, keys)
    assert issuer.fetches == 1
    await keys.find("RS256", "rsa-1")
    assert issuer.fetches == 1


async def test_a_key_is_only_found_for_its_own_algorithm(keys: KeySet, issuer: Issuer) -> None:
    for algorithm, id in (("ES256", "rsa-1"), ("RS256", "ec-1"), ("HS256", "rsa-1")):
        with pytest.raises(InvalidToken):
            await keys.find(algorithm, id)


async def test_without_an_id_the_only_key_of_the_type_is_meant(
    keys: KeySet, issuer: Issuer, clock: SteppedClock
) -> None:
    assert (await keys.find("RS256", None)).kid == "rsa-1"
    issuer.published.append(RSAKey.generate_key(2048, parameters={"kid": "rsa-2"}))
    clock.step(601)
    await keys.find("ES256", None)
    await fetched(issuer, keys)
    with pytest.raises(InvalidToken):
        await keys.find("RS256", None)


def test_keys_that_are_not_for_us_are_passed_over() -> None:
    good = ECKey.generate_key("P-256", parameters={"kid": "good"}).as_dict(private=False)
    weak = RSAKey.generate_key(2048).as_dict(private=False) | {"n": "3q2-7w", "kid": "weak"}
    secret = OctKey.generate_key(256).as_dict(private=True)
    private = RSAKey.generate_key(2048).as_dict(private=True)
    encrypts = RSAKey.generate_key(2048, parameters={"use": "enc"}).as_dict(private=False)
    broken = {"kty": "RSA", "n": 1}
    unknown = {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}
    found = read_key_set(key_set(good, weak, secret, private, encrypts, broken, unknown))
    assert [key.kid for key in found] == ["good"]
    with pytest.raises(ValueError, match="no key"):
        read_key_set(key_set(weak, secret, private))
    with pytest.raises(ValueError, match="more than"):
        read_key_set(key_set(*[good] * (KEYS_MAX + 1)))


def key_set(*keys: object) -> bytes:
    return msgspec.json.encode({"keys": keys})


# --- the fetch ------------------------------------------------------------------------------------------------------


async def test_a_document_comes_over_tls_from_whom_the_certificate_names() -> None:
    async with Issuer(tls=server_tls()) as issuer:
        assert await fetch_document(issuer.url, timeout_s=5, tls=client_tls()) == issuer.keys
        with pytest.raises(Exception, match="certificate verify failed"):
            await fetch_document(issuer.url, timeout_s=5)


async def test_a_fetch_is_bounded_and_follows_nobody(issuer: Issuer) -> None:
    with pytest.raises(UpstreamBroken, match="302"):
        await fetch_document(issuer.url.replace("jwks.json", "moved"), timeout_s=5)
    issuer.document = b" " * (DOCUMENT_BYTES_MAX + 1)
    with pytest.raises(UpstreamBroken, match="more than"):
        await fetch_document(issuer.url, timeout_s=5)
    issuer.open.clear()
    with pytest.raises(TimeoutError):
        await fetch_document(issuer.url, timeout_s=0.05)


async def test_a_file_serves_as_well(issuer: Issuer, tmp_path: Path, clock: SteppedClock) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.keys)
    read: Callable[[], Awaitable[bytes]] = partial(read_document, file)
    keys = KeySet(read, clock=clock, settings=SETTINGS)
    assert (await keys.find("RS256", "rsa-1")).kid == "rsa-1"
    file.write_bytes(b" " * (DOCUMENT_BYTES_MAX + 1))
    with pytest.raises(UpstreamBroken):
        await read()


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://login.example/jwks", True),
        ("http://localhost:8080/jwks", True),
        ("http://127.0.0.1/jwks", True),
        ("http://[::1]/jwks", True),
        ("http://login.example/jwks", False),
        ("http://localhost.example/jwks", False),
        ("http://127.0.0.1@login.example/jwks", False),
        ("https://user:secret@login.example/jwks", False),
        ("file:///etc/passwd", False),
        ("ftp://localhost/jwks", False),
        ("https://", False),
        ("https://[", False),
    ],
)
def test_only_https_or_this_machine_is_asked(url: str, may: bool) -> None:
    assert may_be_fetched(url) is may
