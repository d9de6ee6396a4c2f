from ipaddress import ip_network

import pytest

from mta.accounts.networks import address_of, is_within, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_one_client_is_an_ipv4_address_or_64_bits_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("192.0.2.9", True),
        ("::ffff:192.0.2.9", True),
        ("192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("unknown", False),
    ],
)
def test_an_address_is_in_a_network_of_its_own_kind(address: str, is_in: bool) -> None:
    assert is_within(address, [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]) is is_in


def test_what_is_no_address_is_none() -> None:
    assert address_of("mail.example.com") is None
