"""Whose address it is, which network it lies in, and what counts as one."""

import pytest

from gateway.core.address import HOPS_MAX, address_behind, address_of, counted_as, is_within, network_of

TRUSTED = (network_of("10.0.0.0/8"), network_of("fd00::/8"))


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "fe80::1%eth0", "10.0.0", "localhost", "::/129"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        network_of(text)


@pytest.mark.parametrize(
    ("address", "network", "within"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("10.1.2.3", "::/0", False),
        ("", "0.0.0.0/0", False),
        ("local", "0.0.0.0/0", False),
    ],
)
def test_an_address_lies_in_its_networks(address: str, network: str, within: bool) -> None:
    assert is_within(address_of(address), (network_of(network),)) is within


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # who is not trusted says what he likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),  # the first entry is the caller's own word
        ("10.0.0.1", ["192.0.2.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["192.0.2.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
        ("10.0.0.1", ["192.0.2.9" + ", 10.0.0.9" * HOPS_MAX], "10.0.0.9"),
    ],
)
def test_a_proxy_is_believed_where_it_is_trusted(peer: str, forwarded: list[str], address: str) -> None:
    assert address_behind(peer, forwarded, TRUSTED) == address


def test_nobody_is_trusted_unasked() -> None:
    assert address_behind("10.0.0.1", ["198.51.100.1"], ()) == "10.0.0.1"


def test_a_caller_with_a_network_of_its_own_counts_once() -> None:
    assert counted_as("2001:db8:1:2:3::4") == counted_as("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert counted_as("2001:db8:1:3::4") != counted_as("2001:db8:1:2::4")
    assert counted_as("::ffff:203.0.113.7") == counted_as("203.0.113.7") == "203.0.113.7"
    assert counted_as("") == ""
