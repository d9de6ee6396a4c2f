"""Where a client comes from: its address as a number, the network that is counted as one client, and who is near.

An IPv4 address that came in IPv6's clothes (RFC 4291 §2.5.5.2) is the IPv4 address. Anything else that is no address
stands for itself and is in no network.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpNetwork = IPv4Network | IPv6Network

_IPV6_PREFIX = 64
"""Bits of the networks that clients are given: within one, a client takes any address it likes."""


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return a client's address without its zone; None where the text is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def network_of(text: str) -> str:
    """Return what counts as one client: the IPv4 address, or the IPv6 network of 64 bits."""
    address = address_of(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> _IPV6_PREFIX << _IPV6_PREFIX, _IPV6_PREFIX)))
    return text if address is None else str(address)


def is_within(text: str, networks: Iterable[IpNetwork]) -> bool:
    """Return whether an address is in one of some networks."""
    address = address_of(text)
    return address is not None and any(address in network for network in networks)
