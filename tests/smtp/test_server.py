"""What every door's server does alike; the rest is told with the submission listener."""

import pytest

from mta.smtp.server import _neighbourhood


@pytest.mark.parametrize(
    ("address", "neighbourhood"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_client_cannot_pass_for_many(address: str, neighbourhood: str) -> None:
    assert _neighbourhood(address) == neighbourhood
