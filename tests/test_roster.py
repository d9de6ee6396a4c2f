"""Accounts of the configuration and of the store."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from mta import roster
from mta.accounts.account import Account, Rate
from mta.accounts.scram import SALT_OCTETS, Verifier
from mta.config.settings import AccountEntry, Settings
from mta.config.values import Rate as RateSetting
from mta.config.values import Secret
from mta.errors import ConfigError
from mta.storage.views import StoredAccount

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaA"
VERIFIER = Verifier.make("secret", bytes(SALT_OCTETS))


def settings(*entries: AccountEntry) -> Settings:
    return Settings(hostname="mail.example.com", account=entries)


def stored(name: str, **keys: object) -> StoredAccount:
    return StoredAccount(name, json.dumps({"name": name, "domains": ["example.com"], **keys}), NOW, NOW)


def test_an_account_has_what_its_entry_says_wherever_it_is_kept() -> None:
    entry = AccountEntry(
        name="app",
        domains=("example.com",),
        stream="bulk",
        password_hash=Secret(HASH),
        scram=Secret(VERIFIER.dump()),
        allow_from=(ip_network("192.0.2.0/24"),),
        rate=RateSetting(100, timedelta(hours=1)),
        max_recipients=3,
        max_message_size=1000,
        max_connections=2,
        first_time_recipients_per_day=5,
        pool="slow",
        may_waive_tls=True,
    )
    in_store = stored(
        "app",
        stream="bulk",
        password_hash=HASH,
        scram=VERIFIER.dump(),
        allow_from=["192.0.2.0/24"],
        rate="100/h",
        max_recipients=3,
        max_message_size="1KB",
        max_connections=2,
        first_time_recipients_per_day=5,
        pool="slow",
        may_waive_tls=True,
    )
    expected = Account(
        name="app",
        domains=frozenset({"example.com"}),
        password_hash=HASH,
        stream="bulk",
        scram=VERIFIER,
        allow_from=(ip_network("192.0.2.0/24"),),
        rate=Rate(100, timedelta(hours=1)),
        max_recipients=3,
        max_message_size=1000,
        max_connections=2,
        first_time_recipients_per_day=5,
        pool="slow",
        may_waive_tls=True,
    )
    assert list(roster.directory(settings(entry), [])) == [expected]
    assert list(roster.directory(settings(), [in_store])) == [expected]


def test_an_account_that_is_in_both_is_an_error_and_all_are_named() -> None:
    entries = [AccountEntry(name=name, domains=()) for name in ("a", "b", "c")]
    with pytest.raises(ConfigError) as refused:
        roster.directory(settings(*entries), [stored("c"), stored("a")])
    assert [problem.key for problem in refused.value.problems] == ['account "a"', 'account "c"']


@pytest.mark.parametrize("data", ["{", "[]", '{"name": "shop"}', '{"name": "shop", "domains": ["-"]}'])
def test_an_account_of_the_store_that_cannot_be_read_is_named(data: str) -> None:
    with pytest.raises(ConfigError) as refused:
        roster.directory(settings(), [StoredAccount("shop", data, NOW, NOW)])
    (problem,) = refused.value.problems
    assert problem.key == 'account "shop"'
    assert "cannot be read" in problem.reason
