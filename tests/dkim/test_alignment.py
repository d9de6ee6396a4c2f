"""Which keys sign for which From domain."""

import pytest

from mta.dkim.alignment import pick
from mta.dkim.keys import SigningKey


@pytest.mark.parametrize(
    ("from_domain", "expected"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"),
        ("shop.example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("news.example.com", "news.example.com"),
        ("de.news.example.com", "news.example.com"),
        ("quiet.example.com", None),
        ("a.quiet.example.com", None),
        ("example.net", None),
        ("notexample.com", None),
        ("com", None),
        ("", None),
        (".", None),
    ],
)
def test_the_nearest_configured_domain_signs(from_domain: str, expected: str | None, rsa_pem: bytes) -> None:
    keys = {name: (SigningKey.parse(name, "r1", rsa_pem),) for name in ("example.com", "news.example.com")}
    assert pick(keys | {"quiet.example.com": ()}, from_domain) == (keys[expected] if expected else ())
