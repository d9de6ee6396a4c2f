"""Names, networks, listeners, relays as they are written in the configuration."""

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, strategies

from mta.config.addresses import (
    Listen,
    Nameserver,
    Relay,
    StoreUrl,
    account_name,
    domain_name,
    domain_pattern,
    mail_address,
    network,
    selector,
)
from mta.config.values import Secret

PARSERS: list[Callable[[str], object]] = [
    Listen.parse,
    Nameserver.parse,
    Relay.parse,
    StoreUrl.parse,
    account_name,
    domain_name,
    domain_pattern,
    mail_address,
    network,
    selector,
]


@given(strategies.one_of(strategies.text(), strategies.text("[]:.@/%0159a*-xmtps")))
def test_any_text_gives_a_value_or_a_value_error(text: str) -> None:
    for parse in PARSERS:
        with suppress(ValueError):
            assert parse(text) is not None


@given(strategies.ip_addresses(), strategies.integers(1, 65535))
def test_printed_endpoints_are_read_back(address: object, port: int) -> None:
    listen, server = Listen(str(address), port), Nameserver(str(address), port)
    assert (Listen.parse(str(listen)), Nameserver.parse(str(server))) == (listen, server)


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:25", "127.0.0.1", 25, True),
        ("127.8.8.8:0", "127.8.8.8", 0, True),
        ("[::1]:25", "::1", 25, True),
        ("[::]:587", "::", 587, False),
        ("0.0.0.0:587", "0.0.0.0", 587, False),
        ("localhost:2525", "localhost", 2525, True),
        ("[2001:DB8::1]:25", "2001:db8::1", 25, False),
    ],
)
def test_a_listener_has_an_address_and_a_port(text: str, host: str, port: int, is_loopback: bool) -> None:
    listen = Listen.parse(text)
    assert (listen, listen.is_loopback) == (Listen(host, port), is_loopback)


@pytest.mark.parametrize(
    "text", ["", "25", "127.0.0.1", ":25", "mail.example.com:25", "[127.0.0.1]:25", "::1:25", "1.2.3.4:65536", "*:25"]
)
def test_other_listeners_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address and a port"):
        Listen.parse(text)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("9.9.9.9", Nameserver("9.9.9.9", 53)),
        ("127.0.0.1:5353", Nameserver("127.0.0.1", 5353)),
        ("::1", Nameserver("::1", 53)),
        ("[::1]", Nameserver("::1", 53)),
        ("[::1]:5353", Nameserver("::1", 5353)),
    ],
)
def test_a_resolver_has_port_53_unless_told(text: str, server: Nameserver) -> None:
    assert Nameserver.parse(text) == server


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_domain_becomes_lower_case_a_labels(text: str, name: str) -> None:
    assert domain_name(text) == name


NO_DOMAINS = "|.|a..b|192.0.2.1|[192.0.2.1]|a b.example|a_b.example|-a.example|a.example:25|a\r\n.example|a.example/"


@pytest.mark.parametrize("text", [*NO_DOMAINS.split("|"), "x" * 64 + ".example", ".".join(["x" * 60] * 5), "x" * 5000])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a domain name"):
        domain_name(text)


def test_patterns_keep_their_star() -> None:
    assert [domain_pattern(text) for text in ("*", "*.Example.com", "example.com")] == [
        "*",
        "*.example.com",
        "example.com",
    ]


@pytest.mark.parametrize("text", ["a", "@example.com", "a@", "a b@example.com", "a\n@example.com", "a@b@c d"])
def test_what_is_no_mail_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a (mail address|domain name)"):
        mail_address(text)


def test_only_the_domain_of_a_mail_address_is_folded() -> None:
    assert mail_address("Post.Master/x@EXAMPLE.com") == "Post.Master/x@example.com"


@pytest.mark.parametrize("text", ["", "a/b", "a b", "a\tb", "a\x00", "a\x7f", "a\u2003b", "x" * 256])
def test_an_account_name_has_no_slash_blank_or_control(text: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        account_name(text)


def test_a_mail_address_is_a_fine_account_name() -> None:
    assert account_name("alice@example.com") == "alice@example.com"


def test_a_network_with_bits_behind_its_prefix_is_explained() -> None:
    assert network("192.0.2.7") == ip_network("192.0.2.7/32")
    with pytest.raises(ValueError, match="bits set behind the prefix"):
        network("192.0.2.7/24")


@pytest.mark.parametrize("text", ["", "../x", "r_1", "r1.", "-r", "r/1", "R 1"])
def test_a_selector_is_made_of_labels(text: str) -> None:
    with pytest.raises(ValueError, match="expected a selector"):
        selector(text)


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtp://relay.internal:2525", Relay("smtp", "relay.internal", 2525)),
        ("smtp://Relay.Example", Relay("smtp", "relay.example", 25)),
        ("smtps://relay.example", Relay("smtps", "relay.example", 465, tls="verify")),
        ("smtps://192.0.2.1", Relay("smtps", "192.0.2.1", 465, tls="require")),
        ("lmtp://127.0.0.1", Relay("lmtp", "127.0.0.1", 24)),
        ("lmtp:///run/dovecot/lmtp", Relay("lmtp", "localhost", 0, path="/run/dovecot/lmtp")),
        ("smtp://127.0.0.1:2525/", Relay("smtp", "127.0.0.1", 2525)),
        ("smtp://[::1]:2525", Relay("smtp", "::1", 2525)),
        ("smtp://u%40x:p%3Aw@r.example", Relay("smtp", "r.example", 25, "u@x", Secret("p:w"), "verify")),
    ],
)
def test_a_relay_is_a_url(url: str, relay: Relay) -> None:
    assert Relay.parse(url) == relay


BAD_RELAYS = """
http://u:hunter2@r.example
lmtp://
lmtp:///
lmtp://u:hunter2@r.example/run/lmtp
smtp:///run/hunter2
smtp://u:hunter2@r.example/x
smtp://u:hunter2@r.example:0
smtp://u:hunter2@r.example?x
smtp://u:hunter2@r.example#x
smtp://:hunter2@r.example
smtp://u:hunter2@
smtp://u:hunter2@r:99999
smtp://u:hunter2%00@r.example
smtp://hunter2@r.example
smtp://u:hunter2@[::1
smtp://u:hunter2@a b
u:hunter2@r
"""


@pytest.mark.parametrize("url", BAD_RELAYS.strip().splitlines())
def test_a_bad_relay_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected a relay") as caught:
        Relay.parse(url)
    assert "hunter2" not in str(caught.value)


def test_a_relay_remembers_that_its_password_came_from_a_file() -> None:
    relay = Relay.parse(Secret("smtp://u:hunter2@r.example", file=Path("/run/relay")))
    assert relay.password == Secret("hunter2", file=Path("/run/relay"))
    assert "hunter2" not in repr(relay)


def test_the_store_is_an_sqlite_file() -> None:
    assert StoreUrl.parse("sqlite:queue.db").path == Path("queue.db")
    assert str(StoreUrl.parse("sqlite:/srv/q.db")) == "sqlite:/srv/q.db"


@pytest.mark.parametrize("text", ["", "queue.db", "sqlite:", "sqlite::memory:", "postgresql://mta:hunter2@db/mta"])
def test_another_store_is_refused_without_repeating_a_password(text: str) -> None:
    with pytest.raises(ValueError, match="sqlite:") as caught:
        StoreUrl.parse(text)
    assert "hunter2" not in str(caught.value)
