"""All policies combined, as a table."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from mta.delivery.dane import Dane, DaneState
from mta.delivery.limits import TlsPolicy
from mta.delivery.mta_sts import Mode, Policy
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import Demand, Level, PolicyWord, Situation, Skipped, Wish, combine
from mta.delivery.tlsa import TlsaRecord

HOST = "mx.example.net"
BASE = "real.example.net"
RECORDS = (TlsaRecord(3, 1, 1, bytes(32)),)
NAMES = (BASE, "example.com")

ABSENT = Dane()
USABLE = Dane(DaneState.USABLE, BASE, NAMES, RECORDS)
UNUSABLE = Dane(DaneState.UNUSABLE, BASE, NAMES, (TlsaRecord(0, 1, 1, bytes(32)),), "useless")
TROUBLE = Dane(DaneState.TROUBLE, why="SERVFAIL")
DANES = (ABSENT, USABLE, UNUSABLE, TROUBLE)

DAY = timedelta(days=1)
ENFORCE = Policy(Mode.ENFORCE, ("*.example.net",), DAY)
ENFORCE_OTHER = Policy(Mode.ENFORCE, ("*.example.org",), DAY)
TESTING = Policy(Mode.TESTING, ("*.example.net",), DAY)
TESTING_OTHER = Policy(Mode.TESTING, ("*.example.org",), DAY)
NONE = Policy(Mode.NONE, (), DAY)
POLICIES = (None, NONE, TESTING, TESTING_OTHER, ENFORCE, ENFORCE_OTHER)

PLAIN = Wish()
REQUIRE = Wish(require=True)
OPTIONAL = Wish(optional=True)
BOTH = Wish(require=True, optional=True)
SKIP = None
"""The host must not be used."""


def _shown(decided: Demand | Skipped) -> tuple[Level, PolicyWord] | PolicyWord:
    return decided.word if isinstance(decided, Skipped) else (decided.level, decided.word)


# what the recipient's domain says; then the level and the word, opportunistic being configured, for a plain message
RECIPIENT = [
    (ABSENT, None, (Level.OPPORTUNISTIC, PolicyWord.OPPORTUNISTIC)),
    (ABSENT, NONE, (Level.OPPORTUNISTIC, PolicyWord.OPPORTUNISTIC)),
    (ABSENT, TESTING, (Level.OPPORTUNISTIC, PolicyWord.MTA_STS_TESTING)),
    (ABSENT, TESTING_OTHER, (Level.OPPORTUNISTIC, PolicyWord.MTA_STS_TESTING)),
    (ABSENT, ENFORCE, (Level.VERIFY_PKIX, PolicyWord.MTA_STS)),
    (ABSENT, ENFORCE_OTHER, PolicyWord.MTA_STS),
    (USABLE, None, (Level.DANE, PolicyWord.DANE)),
    (USABLE, NONE, (Level.DANE, PolicyWord.DANE)),
    (USABLE, TESTING, (Level.DANE, PolicyWord.DANE)),
    (USABLE, TESTING_OTHER, (Level.DANE, PolicyWord.DANE)),
    (USABLE, ENFORCE, (Level.DANE, PolicyWord.DANE_MTA_STS)),
    (USABLE, ENFORCE_OTHER, PolicyWord.MTA_STS),
    (UNUSABLE, None, (Level.ENCRYPT, PolicyWord.DANE)),
    (UNUSABLE, NONE, (Level.ENCRYPT, PolicyWord.DANE)),
    (UNUSABLE, TESTING, (Level.ENCRYPT, PolicyWord.DANE)),
    (UNUSABLE, TESTING_OTHER, (Level.ENCRYPT, PolicyWord.DANE)),
    (UNUSABLE, ENFORCE, (Level.VERIFY_PKIX, PolicyWord.DANE_MTA_STS)),
    (UNUSABLE, ENFORCE_OTHER, PolicyWord.MTA_STS),
    *((TROUBLE, policy, PolicyWord.DANE) for policy in POLICIES),
]


def test_the_table_has_all_that_a_domain_can_say() -> None:
    assert [(dane, policy) for dane, policy, _ in RECIPIENT] == list(product(DANES, POLICIES))


@pytest.mark.parametrize(("dane", "sts", "expected"), RECIPIENT)
def test_what_the_recipient_s_domain_demands_is_demanded(
    dane: Dane, sts: Policy | None, expected: tuple[Level, PolicyWord] | PolicyWord
) -> None:
    assert _shown(combine(Situation(HOST, dane=dane, sts=sts, named_surely=True))) == expected


@pytest.mark.parametrize(
    ("configured", "route", "level", "word"),
    [
        (TlsPolicy.OPPORTUNISTIC, Level.OPPORTUNISTIC, Level.OPPORTUNISTIC, PolicyWord.OPPORTUNISTIC),
        (TlsPolicy.REQUIRE, Level.OPPORTUNISTIC, Level.ENCRYPT, PolicyWord.REQUIRE),
        (TlsPolicy.OPPORTUNISTIC, Level.ENCRYPT, Level.ENCRYPT, PolicyWord.REQUIRE),
        (TlsPolicy.REQUIRE, Level.ENCRYPT, Level.ENCRYPT, PolicyWord.REQUIRE),
        (TlsPolicy.OPPORTUNISTIC, Level.VERIFY_PKIX, Level.VERIFY_PKIX, PolicyWord.VERIFY),
        (TlsPolicy.REQUIRE, Level.VERIFY_PKIX, Level.VERIFY_PKIX, PolicyWord.VERIFY),
    ],
)
@pytest.mark.parametrize("wish", [PLAIN, OPTIONAL])
def test_what_the_operator_demands_is_demanded_whatever_the_message_says(
    configured: TlsPolicy, route: Level, level: Level, word: PolicyWord, wish: Wish
) -> None:
    assert _shown(combine(Situation(HOST, configured, route, wish=wish))) == (level, word)


EVERYTHING = [
    Situation(HOST, configured, route, dane, sts, sure, wish)
    for configured, route, dane, sts, sure, wish in product(
        TlsPolicy,
        (Level.OPPORTUNISTIC, Level.ENCRYPT, Level.VERIFY_PKIX),
        DANES,
        POLICIES,
        (True, False),
        (PLAIN, REQUIRE, OPTIONAL, BOTH),
    )
]


def test_no_combination_is_weaker_than_any_of_its_parts() -> None:
    for situation in EVERYTHING:
        decided = combine(situation)
        if isinstance(decided, Skipped):
            continue
        ignored = situation.wish == OPTIONAL
        sts_enforced = situation.sts is not None and situation.sts.mode is Mode.ENFORCE and not ignored
        if situation.configured is TlsPolicy.REQUIRE or situation.route is Level.ENCRYPT:
            assert decided.encrypted
        if situation.route is Level.VERIFY_PKIX or sts_enforced:
            assert decided.pkix_names == (HOST,)
        if situation.dane.state is DaneState.USABLE and not ignored:
            assert (decided.level, decided.dane_records) == (Level.DANE, RECORDS)
            assert (decided.dane_names, decided.server_name) == (NAMES, BASE)
        if situation.dane.state is DaneState.UNUSABLE and not ignored:
            assert decided.encrypted
        if situation.wish.require:
            assert decided.requiretls
            assert decided.pkix_names or decided.dane_records
        assert decided.plaintext_fallback == (decided.level is Level.OPPORTUNISTIC)
        if decided.plaintext_fallback:
            assert (decided.pkix_names, decided.dane_records, decided.requiretls) == ((), (), False)


def test_hosts_are_skipped_for_a_reason_only() -> None:
    for situation in EVERYTHING:
        sts = situation.sts
        proved = sts is not None and sts.mode is not Mode.NONE and sts.allows(HOST)
        unnamed = sts is ENFORCE_OTHER
        unsure = situation.wish.require and not (situation.named_surely or proved)
        bad = situation.wish != OPTIONAL and (situation.dane is TROUBLE or unnamed or unsure)
        assert isinstance(combine(situation), Skipped) == bad, situation


@pytest.mark.parametrize(
    ("dane", "sts", "sure", "expected"),
    [
        (USABLE, None, True, (Level.DANE, PolicyWord.REQUIRETLS)),
        (USABLE, ENFORCE, True, (Level.DANE, PolicyWord.REQUIRETLS)),
        (UNUSABLE, None, True, (Level.VERIFY_PKIX, PolicyWord.REQUIRETLS)),
        (ABSENT, None, True, (Level.VERIFY_PKIX, PolicyWord.REQUIRETLS)),
        (ABSENT, None, False, PolicyWord.REQUIRETLS),
        (ABSENT, NONE, False, PolicyWord.REQUIRETLS),
        (ABSENT, ENFORCE, False, (Level.VERIFY_PKIX, PolicyWord.REQUIRETLS)),
        (ABSENT, TESTING, False, (Level.VERIFY_PKIX, PolicyWord.REQUIRETLS)),
        (ABSENT, TESTING_OTHER, False, PolicyWord.REQUIRETLS),
        (ABSENT, ENFORCE_OTHER, True, PolicyWord.MTA_STS),
        (TROUBLE, None, True, PolicyWord.DANE),
    ],
)
@pytest.mark.parametrize("wish", [REQUIRE, BOTH])
def test_a_message_that_requires_tls(
    dane: Dane, sts: Policy | None, sure: bool, expected: tuple[Level, PolicyWord] | PolicyWord, wish: Wish
) -> None:
    assert _shown(combine(Situation(HOST, dane=dane, sts=sts, named_surely=sure, wish=wish))) == expected


@pytest.mark.parametrize(
    ("wish", "changes", "for_good"),
    [
        (REQUIRE, {}, True),
        (BOTH, {}, True),
        (REQUIRE, {"unsure": "the policy's host answered 503"}, False),
        (REQUIRE, {"sts": ENFORCE_OTHER, "named_surely": True}, True),
        (REQUIRE, {"sts": ENFORCE_OTHER, "unsure": "the policy's host answered 503"}, False),
        (REQUIRE, {"dane": TROUBLE}, False),
        (PLAIN, {"sts": ENFORCE_OTHER}, False),
        (PLAIN, {"dane": TROUBLE}, False),
    ],
)
def test_a_host_is_out_for_good_when_tls_is_required_and_it_is_certain(
    wish: Wish, changes: dict[str, Any], for_good: bool
) -> None:
    decided = combine(Situation(HOST, wish=wish, **changes))
    assert isinstance(decided, Skipped)
    assert decided.for_good is for_good


@pytest.mark.parametrize(("dane", "sts"), list(product(DANES, POLICIES)))
def test_a_message_that_says_tls_is_optional_goes_anywhere(dane: Dane, sts: Policy | None) -> None:
    decided = combine(Situation(HOST, dane=dane, sts=sts, wish=OPTIONAL))
    assert isinstance(decided, Demand)
    assert decided.plaintext_fallback
    mattered = dane is not ABSENT or sts in (ENFORCE, ENFORCE_OTHER)
    assert decided.word == (PolicyWord.TLS_OPTIONAL if mattered else PolicyWord.OPPORTUNISTIC)


def test_a_policy_in_testing_mode_is_looked_at_and_demands_nothing() -> None:
    good, bad = (combine(Situation(HOST, sts=policy)) for policy in (TESTING, TESTING_OTHER))
    assert isinstance(good, Demand)
    assert isinstance(bad, Demand)
    assert (good.testing_names, good.testing_failure, good.pkix_names) == ((HOST,), None, ())
    assert (bad.testing_names, bad.testing_failure) == ((), TlsFailure.VALIDATION_FAILURE)


def _demand(**changes: object) -> Demand:
    decided = combine(Situation(HOST, **changes))  # type: ignore[arg-type]  # the tests name fields, mypy cannot follow
    assert isinstance(decided, Demand)
    return decided


OPPORTUNISTIC = _demand()
IN_PLAINTEXT = OPPORTUNISTIC.in_plaintext()
ENCRYPTED = _demand(configured=TlsPolicy.REQUIRE)
VERIFIED = _demand(sts=ENFORCE)
BY_DANE = _demand(dane=USABLE)
BY_ALL = _demand(dane=USABLE, sts=ENFORCE)
OTHER_RECORDS = _demand(dane=replace(USABLE, records=(TlsaRecord(3, 1, 1, bytes([1] * 32)),)))
OTHER_DOMAIN = _demand(dane=replace(USABLE, names=(BASE, "example.org")))
PROMISED = _demand(sts=ENFORCE, wish=REQUIRE)
TESTED = _demand(sts=TESTING)
ALL = {
    "plaintext": IN_PLAINTEXT,
    "opportunistic": OPPORTUNISTIC,
    "tested": TESTED,
    "encrypted": ENCRYPTED,
    "verified": VERIFIED,
    "dane": BY_DANE,
    "all": BY_ALL,
    "other records": OTHER_RECORDS,
    "other domain": OTHER_DOMAIN,
    "promised": PROMISED,
}
ANYBODY = {"plaintext", "opportunistic", "tested"}


@pytest.mark.parametrize(
    ("opened", "covered"),
    [
        ("plaintext", ANYBODY),
        ("opportunistic", ANYBODY),
        ("tested", ANYBODY),
        ("encrypted", ANYBODY | {"encrypted"}),
        ("verified", ANYBODY | {"encrypted", "verified"}),
        ("dane", ANYBODY | {"encrypted", "dane"}),
        ("all", ANYBODY | {"encrypted", "verified", "dane", "all"}),
        ("other records", ANYBODY | {"encrypted", "other records"}),
        ("other domain", ANYBODY | {"encrypted", "other domain"}),
        ("promised", ANYBODY | {"encrypted", "verified", "promised"}),
    ],
)
def test_a_connection_serves_only_demands_that_it_meets(opened: str, covered: set[str]) -> None:
    assert {name for name, demand in ALL.items() if ALL[opened].covers(demand)} == covered


def test_a_connection_proven_by_the_host_s_own_name_serves_every_domain_of_the_host() -> None:
    assert not BY_DANE.covers(OTHER_DOMAIN)
    assert BY_DANE.proven(BASE).covers(OTHER_DOMAIN)
    assert not BY_DANE.proven("example.com").covers(OTHER_DOMAIN)
    assert BY_DANE.proven("") == BY_DANE


def test_demands_are_keys() -> None:
    assert len({BY_DANE, _demand(dane=USABLE), VERIFIED}) == 2


@pytest.mark.parametrize("demand", [ENCRYPTED, VERIFIED, BY_DANE, PROMISED, IN_PLAINTEXT])
def test_nothing_stronger_than_opportunistic_goes_on_in_plaintext(demand: Demand) -> None:
    with pytest.raises(ValueError, match="allows no plaintext"):
        demand.in_plaintext()
