"""Addresses of callers: whose it is behind proxies, whether it lies in a network, and what counts as one address."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOPS_MAX: Final = 16
"""Of a list of forwarders: whoever is behind more is taken for the last of them."""
_IPV6_PREFIX: Final = 64
_MAPPED_PREFIX: Final = 96


def network_of(text: str) -> Network:
    """`10.0.0.0/8`, or one address. IPv4 within IPv6 (`::ffff:10.0.0.0/104`) is IPv4, as addresses are.

    Raises ValueError, also where bits beside the network's are set.
    """
    if "%" in text:
        raise ValueError(f"{text!r} names an interface")
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))


def address_of(text: str) -> Address | None:
    """None for what is no address. IPv4 within IPv6 (`::ffff:10.0.0.1`) is IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def is_within(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks if network.version == address.version)


def address_behind(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Who asks: the peer, or where that is a trusted proxy whoever it says it asks for, and so on along the list.

    `forwarded` are the values of X-Forwarded-For, to whose end each proxy adds the address that it was asked from. So
    it is read from its end, and up to the first that no trusted proxy vouches for.
    """
    if not trusted or not is_within(address_of(peer), trusted):
        return peer
    found = peer
    for hop in list(reversed(",".join(forwarded).split(",")))[:HOPS_MAX]:
        address = address_of(hop.strip())
        if address is None:
            break
        found = str(address)
        if not is_within(address, trusted):
            break
    return found


def counted_as(address: str) -> str:
    """What limits for an address count by: of IPv6 the network of 64 bits, of which one caller has all addresses."""
    parsed = address_of(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed) >> _IPV6_PREFIX << _IPV6_PREFIX, _IPV6_PREFIX)))
    return address if parsed is None else str(parsed)
