"""Which addresses are never connected to."""

from ipaddress import ip_network

import pytest

from mta.delivery.guard import refusal


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.255.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("239.1.1.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2606:4700::1%eth0", "link-local"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("2001::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("4000::1", "reserved"),
        ("::7f00:1", "reserved"),
        ("64:ff9b:1::1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::a00:1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:c0a8:101::1", "private"),
        ("localhost", "not an address"),
        ("127.1", "not an address"),
        ("0x7f000001", "not an address"),
        ("", "not an address"),
    ],
)
def test_addresses_that_are_refused(address: str, why: str) -> None:
    assert refusal(address) == why


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_addresses_of_the_internet_are_not(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("address", "allowed", "why"),
    [
        ("127.0.0.1", "127.0.0.0/8", None),
        ("10.1.2.3", "10.1.0.0/16", None),
        ("10.2.2.3", "10.1.0.0/16", "private"),
        ("::1", "::1/128", None),
        ("::1", "127.0.0.0/8", "loopback"),
        ("::ffff:10.1.2.3", "10.1.0.0/16", None),
        ("fd00::5", "fd00::/8", None),
    ],
)
def test_networks_that_the_operator_allows(address: str, allowed: str, why: str | None) -> None:
    assert refusal(address, (ip_network(allowed),)) == why
