"""The models: defaults, derived values, and that they never change."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from mta.config.addresses import Listen, Relay, StoreUrl
from mta.config.settings import AccountEntry, DomainEntry, RouteEntry, Settings, StoreSettings, SubmissionSettings
from mta.config.values import Secret


def test_a_host_name_is_all_that_settings_need() -> None:
    settings = Settings(hostname="mail.example.com")
    assert settings.queue.retry[0] == timedelta(minutes=5)
    assert settings.submission.max_message_size == 25_000_000
    assert settings.store_path == Path("/var/lib/mta/queue.db")


def test_settings_take_values_that_are_already_made() -> None:
    submission = SubmissionSettings(listen=(Listen("127.0.0.1", 0),), listen_tls=(), max_recipients=3)
    settings = Settings(hostname="mail.example.com", data_dir=Path("/tmp/x"), submission=submission)
    assert settings.submission.listen == (Listen("127.0.0.1", 0),)
    assert settings.data_dir == Path("/tmp/x")


@pytest.mark.parametrize(
    ("hostname", "domains", "expected"),
    [
        ("mail.example.com", (), "bounces.example.com"),
        ("a.mail.example.com", (), "bounces.mail.example.com"),
        ("example.com", (), "bounces.example.com"),
        ("localhost", (), "bounces.localhost"),
        ("example.co.uk", ("example.co.uk",), "bounces.example.co.uk"),
    ],
)
def test_the_return_path_domain_is_never_what_belongs_to_others(
    hostname: str, domains: tuple[str, ...], expected: str
) -> None:
    settings = Settings(hostname=hostname, domain=tuple(DomainEntry(name=name) for name in domains))
    assert settings.inbound.return_path_domain == expected
    assert settings.inbound.feedback_address == f"fbl@{expected}"


def test_given_return_addresses_stay() -> None:
    inbound = {"return_path_domain": "B.example.net", "feedback_address": "x@example.net"}
    settings = Settings.model_validate({"hostname": "mail.example.com", "inbound": inbound})
    assert settings.inbound.return_path_domain == "b.example.net"
    assert settings.inbound.feedback_address == "x@example.net"


def test_the_store_may_stand_outside_data_dir() -> None:
    settings = Settings(hostname="h.example", store=StoreSettings(url=StoreUrl(Path("/srv/q.db"))))
    assert settings.store_path == Path("/srv/q.db")


@pytest.mark.parametrize(
    ("url", "tls", "expected"),
    [
        ("smtp://r.example", None, "opportunistic"),
        ("smtp://r.example", "require", "require"),
        ("smtp://r.example", "verify", "verify"),
        ("smtp://u:p@r.example", None, "verify"),
        ("smtp://u:p@r.example", "require", "require"),
        ("smtp://u:p@192.0.2.1", None, "require"),
        ("smtp://u:p@localhost", None, "require"),
        ("smtp://u:p@r.example", "opportunistic", "opportunistic"),
        ("smtps://r.example", None, "verify"),
        ("smtps://r.example", "opportunistic", "require"),
    ],
)
def test_a_relay_takes_the_demand_of_its_route(url: str, tls: str | None, expected: str) -> None:
    route = RouteEntry.model_validate({"domain": "*", "relay": url, **({"tls": tls} if tls else {})})
    assert isinstance(route.relay, Relay)
    assert route.relay.tls == expected


def test_nothing_of_the_settings_can_be_changed() -> None:
    settings = Settings(hostname="mail.example.com")
    with pytest.raises(ValidationError):
        settings.hostname = "other.example.com"
    with pytest.raises(ValidationError):
        settings.queue.retry = ()


def test_no_dkim_and_an_empty_dkim_are_told_apart() -> None:
    assert DomainEntry(name="example.com").dkim is None
    assert DomainEntry(name="example.com", dkim=()).dkim == ()


def test_printed_settings_and_their_errors_show_no_secret() -> None:
    hook = {"url": "https://example.com/x", "secret": "hunter2"}
    account = {"name": "a", "domains": ["example.com"], "webhook": hook}
    route = {"domain": "*", "relay": "smtp://u:hunter2@r.example"}
    data = {"hostname": "mail.example.com", "account": [account], "route": [route]}
    assert "hunter2" not in repr(Settings.model_validate(data))
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({**data, "workers": 0, "route": [{**route, "relay": "xmtp://u:hunter2@r.example"}]})
    assert "hunter2" not in str(caught.value)


def test_a_password_hash_may_be_unset_but_not_a_password() -> None:
    assert AccountEntry(name="a", domains=(), password_hash=None).password_hash is None
    with pytest.raises(ValidationError, match="argon2id"):
        AccountEntry(name="a", domains=(), password_hash=Secret("hunter2"))


def test_all_mail_through_one_smarthost_is_two_lines(tmp_path: Path) -> None:
    lines = ('domain = "*"', 'relay = "smtp://u:p@relay.example.com"')
    route = RouteEntry.model_validate(tomllib.loads("\n".join(lines)))
    assert isinstance(route.relay, Relay)
    assert (route.relay.host, route.relay.tls, route.account, route.fallback) == (
        "relay.example.com",
        "verify",
        "",
        False,
    )
