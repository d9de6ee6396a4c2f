"""From settings to each part's own settings, and what a reload can apply."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mta import assembly
from mta.assembly import APPLIED_ON_RELOAD, Changes, changes
from mta.config.addresses import Nameserver, Relay
from mta.config.in_force import NOT_IN_FORCE
from mta.config.settings import (
    AccountEntry,
    DeliverySettings,
    DkimKey,
    DomainEntry,
    InboundSettings,
    Part,
    RouteEntry,
    SecretsSettings,
    ServerTls,
    Settings,
)
from mta.config.values import MaxAge, Secret
from mta.delivery.limits import Families, TlsPolicy
from mta.delivery.resolver import Server
from mta.dkim.keys import Algorithm, generate_ed25519
from mta.errors import ConfigError
from mta.mail.token import Keyring
from mta.queue.model import Stream
from mta.queue.seams import Hold, Host

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PLAIN = Settings(hostname="mail.example.com")


def changed(section: str = "", **values: Any) -> Settings:
    """The plain settings with some keys of a section, or of the top, set to something else."""
    if not section:
        return PLAIN.model_copy(update=values)
    part: Part = getattr(PLAIN, section)
    return PLAIN.model_copy(update={section: part.model_copy(update=values)})


def test_the_schedule_has_an_age_for_each_stream() -> None:
    ages = MaxAge(timedelta(hours=1), timedelta(days=2))
    made = assembly.schedule(changed("queue", retry=(timedelta(minutes=1),), max_age=ages))
    assert made.intervals == (timedelta(minutes=1),)
    assert made.max_age == {Stream.TRANSACTIONAL: timedelta(hours=1), Stream.BULK: timedelta(days=2)}
    assert made.delay_notice_after == timedelta(hours=4)


def test_delivery_gets_the_servers_own_name_and_every_limit() -> None:
    delivery = DeliverySettings(tls="require", addresses="ipv4", max_connections=7)
    made = assembly.transport(PLAIN.model_copy(update={"delivery": delivery}))
    assert (made.ehlo_name, made.tls, made.families) == ("mail.example.com", TlsPolicy("require"), Families("ipv4"))
    assert made.pool.max_connections == 7
    for step in ("connect", "greeting", "command", "data", "block", "final", "attempt"):
        assert getattr(made.timeouts, step) == getattr(delivery.timeouts, step)


def test_the_name_servers_are_those_that_are_given() -> None:
    settings = changed("delivery", resolvers=(Nameserver("127.0.0.1", 5353),))
    assert assembly.resolver(settings).servers == (Server("127.0.0.1", 5353),)
    assert assembly.resolver(PLAIN).servers == ()


def test_routes_keep_their_order_and_lead_to_relays_that_are_trusted_or_to_a_hold() -> None:
    relay = Relay("smtps", "relay.example", 465, user="u", password=Secret("p"), tls="require")
    entries = (RouteEntry(domain="a.example", relay=relay), RouteEntry(domain="*.b.example", hold=True))
    first, second = assembly.routes(changed(route=entries))
    assert first.to == Host(
        "relay.example", 465, implicit_tls=True, require_tls=True, user="u", password="p", trusted=True
    )
    assert isinstance(second.to, Hold)
    assert "*.b.example" in second.to.reason


def test_a_route_says_whose_mail_goes_where_and_with_which_certificate() -> None:
    entry = RouteEntry(
        domain="*",
        relay=Relay.parse("lmtp:///run/lmtp"),
        account="shop",
        fallback=True,
        client_cert=Path("/etc/client.pem"),
        tls="verify",
    )
    (route,) = assembly.routes(changed(route=(entry,)))
    assert (route.account, route.is_fallback) == ("shop", True)
    assert route.to == Host(
        "localhost",
        0,
        require_tls=True,
        verify_tls=True,
        trusted=True,
        client_cert="/etc/client.pem",
        lmtp=True,
        socket="/run/lmtp",
    )


def test_keys_are_read_by_domain_and_domains_unsigned_on_purpose_are_known(tmp_path: Path) -> None:
    path = tmp_path / "e1.pem"
    path.write_bytes(generate_ed25519())
    domains = (
        DomainEntry(name="signed.example", dkim=(DkimKey(selector="e1", key=path),)),
        DomainEntry(name="unsigned.example", dkim=()),
        DomainEntry(name="forgotten.example"),
    )
    settings = changed(domain=domains)
    keys = assembly.dkim_keys(settings)
    assert {name: [key.algorithm for key in of_domain] for name, of_domain in keys.items()} == {
        "signed.example": [Algorithm.ED25519]
    }
    assert assembly.unsigned_domains(settings) == {"unsigned.example"}


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_named_with_its_domain(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    entry = DomainEntry(name="a.example", dkim=(DkimKey(selector="e1", key=path),))
    with pytest.raises(ConfigError, match=r"mta dkim keygen a\.example") as refused:
        assembly.dkim_keys(changed(domain=(entry,)))
    (problem,) = refused.value.problems
    assert (problem.file, problem.key) == (str(path), 'domain "a.example"')


def test_the_return_path_is_the_domains_own_or_the_default_and_follows_a_reload() -> None:
    own = DomainEntry(name="a.example", return_path="rp.a.example")
    domains = assembly.ReturnPathDomains(changed(domain=(own,)))
    assert (domains("a.example"), domains("b.example")) == ("rp.a.example", "bounces.example.com")
    domains.replace(Settings(hostname="mail.example.com", inbound=InboundSettings(return_path_domain="rp.example")))
    assert (domains("a.example"), domains("b.example")) == ("rp.example", "rp.example")


def test_the_keyring_is_parsed_and_what_is_none_is_named_by_its_source() -> None:
    text = Keyring.new(bytes(32), NOW).dump()
    made = assembly.keyring(changed(secrets=SecretsSettings(keyring=Secret(text, env="RING"))))
    assert made == Keyring.parse(text)
    for source, place in ((Secret("{}", env="RING"), "$RING"), (Secret("{}", file=Path("/k.json")), "/k.json")):
        with pytest.raises(ConfigError) as refused:
            assembly.keyring(changed(secrets=SecretsSettings(keyring=source)))
        assert refused.value.problems[0].file == place


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (PLAIN, Changes((), ())),
        (changed("log", level="debug"), Changes(("log.level",), ())),
        (changed("log", format="json"), Changes((), ("log.format",))),
        (changed("queue", retry=(timedelta(seconds=1),), min_free=0.5), Changes(("queue.retry",), ("queue.min_free",))),
        (changed(hostname="other.example.com"), Changes((), ("hostname",))),
        (changed(account=(AccountEntry(name="a", domains=()),)), Changes(("account",), ())),
        (changed("submission", tls=ServerTls(min_version="1.3")), Changes(("submission.tls",), ())),
        (
            changed("submission", listen=(), listen_tls=(), max_recipients=1),
            Changes(("submission.max_recipients",), ("submission.listen", "submission.listen_tls")),
        ),
        (changed("secrets", keyring=Secret("x")), Changes(("secrets.keyring",), ())),
        (changed("privacy", trash=timedelta(0)), Changes((), ())),
        (changed(workers=7), Changes((), ("workers",))),
    ],
    ids=lambda value: str(value) if isinstance(value, Changes) else "",
)
def test_changes_are_named_by_what_a_reload_can_do_about_them(settings: Settings, expected: Changes) -> None:
    assert changes(PLAIN, settings) == expected


def test_every_key_that_a_reload_applies_exists() -> None:
    known = set(Settings.model_fields)
    for name in Settings.model_fields:
        part = getattr(PLAIN, name)
        if isinstance(part, Part):
            known |= {f"{name}.{key}" for key in type(part).model_fields}
    assert known >= APPLIED_ON_RELOAD
    assert APPLIED_ON_RELOAD.isdisjoint({".".join(map(str, key)) for key in NOT_IN_FORCE})


def test_nothing_of_a_secret_is_in_what_a_reload_tells() -> None:
    told = changes(PLAIN, changed("secrets", keyring=Secret("hush")))
    assert "hush" not in repr(told)
