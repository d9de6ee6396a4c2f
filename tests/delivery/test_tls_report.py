"""Counting what connections came to, and who wants to know."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery import tls_report
from mta.delivery.dane import Dane, DaneState
from mta.delivery.mta_sts import Mode, Policy
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_report import (
    MAX_FAILURES,
    AppliedPolicy,
    DomainDay,
    FailureDetails,
    PolicyTally,
    PolicyType,
    ReportTargets,
    Tallies,
    applied_policies,
    parse_txt,
)
from mta.delivery.tlsa import TlsaRecord
from mta.mail.address import Mailbox
from tests.delivery.pki import DAY

TODAY = date(2026, 11, 22)
DOMAIN = "example.com"
NOTHING = AppliedPolicy(PolicyType.NONE, DOMAIN)
STS = Policy(Mode.ENFORCE, ("mx.example.net",), DAY)
RECORD = TlsaRecord(3, 1, 1, b"\xaa")
BY_STS = AppliedPolicy(
    PolicyType.STS,
    DOMAIN,
    ("version: STSv1", "mode: enforce", "mx: mx.example.net", "max_age: 86400"),
    ("mx.example.net",),
)
BY_DANE = AppliedPolicy(PolicyType.TLSA, "mx.example.net", ("3 1 1 aa",))
EXPIRED = FailureDetails(TlsFailure.CERTIFICATE_EXPIRED, "192.0.2.1", "mx.example.net", "192.0.2.2")
UNTRUSTED = FailureDetails(TlsFailure.CERTIFICATE_NOT_TRUSTED, reason="self-signed")


def _dane(state: DaneState) -> Dane:
    return Dane(state, "mx.example.net", ("mx.example.net",), (RECORD,))


@pytest.mark.parametrize(
    ("dane", "sts", "expected"),
    [
        (Dane(), None, (NOTHING,)),
        (Dane(), Policy(Mode.NONE, (), DAY), (NOTHING,)),
        (Dane(DaneState.TROUBLE), None, (NOTHING,)),
        (Dane(), STS, (BY_STS,)),
        (_dane(DaneState.USABLE), None, (BY_DANE,)),
        (_dane(DaneState.UNUSABLE), None, (BY_DANE,)),
        (_dane(DaneState.USABLE), STS, (BY_DANE, BY_STS)),
    ],
)
def test_a_connection_counts_under_each_policy_that_applied(
    dane: Dane, sts: Policy | None, expected: tuple[AppliedPolicy, ...]
) -> None:
    assert applied_policies(DOMAIN, dane, sts) == expected


def test_results_add_up_by_day_domain_policy_and_failure() -> None:
    tallies = Tallies()
    for _ in range(3):
        tallies.success(TODAY, DOMAIN, BY_STS)
    for what in (EXPIRED, UNTRUSTED, EXPIRED):
        tallies.failure(TODAY, DOMAIN, BY_STS, what)
    tallies.success(TODAY, DOMAIN, BY_DANE)
    assert tallies.drain() == (
        DomainDay(
            TODAY,
            DOMAIN,
            (PolicyTally(BY_STS, 3, 3, ((EXPIRED, 2), (UNTRUSTED, 1))), PolicyTally(BY_DANE, 1)),
        ),
    )
    assert tallies.drain() == ()


def test_days_and_domains_are_apart() -> None:
    tallies = Tallies()
    for day, domain in ((TODAY, DOMAIN), (TODAY, "example.org"), (TODAY + DAY, DOMAIN)):
        tallies.success(day, domain, NOTHING)
    assert [(one.day, one.domain) for one in tallies.drain()] == [
        (TODAY, DOMAIN),
        (TODAY, "example.org"),
        (TODAY + DAY, DOMAIN),
    ]


def test_what_could_not_be_stored_is_counted_again() -> None:
    tallies = Tallies()
    tallies.success(TODAY, DOMAIN, NOTHING)
    days = tallies.drain()
    tallies.success(TODAY, DOMAIN, NOTHING)
    tallies.take_back(days)
    assert tallies.drain() == (DomainDay(TODAY, DOMAIN, (PolicyTally(NOTHING, 2),)),)


def test_too_many_kinds_of_failure_are_counted_in_the_sum_only() -> None:
    tallies = Tallies()
    for number in range(MAX_FAILURES + 5):
        tallies.failure(TODAY, DOMAIN, NOTHING, FailureDetails(TlsFailure.VALIDATION_FAILURE, reason=str(number)))
    (tally,) = tallies.drain()[0].tallies
    assert (tally.failures, len(tally.details)) == (MAX_FAILURES + 5, MAX_FAILURES)


def test_too_many_policies_of_a_domain_are_left_out() -> None:
    tallies = Tallies()
    for number in range(tls_report.MAX_POLICIES + 5):
        tallies.success(TODAY, DOMAIN, AppliedPolicy(PolicyType.TLSA, f"mx{number}.example.net"))
    assert len(tallies.drain()[0].tallies) == tls_report.MAX_POLICIES


def test_too_many_domains_are_left_out_and_counted() -> None:
    tallies = Tallies()
    for number in range(tls_report.MAX_DOMAINS + 5):
        tallies.success(TODAY, f"{number}.example.com", NOTHING)
    tallies.success(TODAY, "0.example.com", NOTHING)
    assert tallies.dropped == 5
    assert len(tallies.drain()) == tls_report.MAX_DOMAINS


def test_only_the_same_day_and_domain_add_up() -> None:
    with pytest.raises(ValueError, match=r"example\.com 2026-11-22 is not example\.org 2026-11-22"):
        DomainDay(TODAY, DOMAIN).plus(DomainDay(TODAY, "example.org"))


def test_a_reason_is_cleaned_and_cut() -> None:
    what = FailureDetails(TlsFailure.VALIDATION_FAILURE, reason="a\r\nb\x1b" + "x" * 999)
    assert what.reason.startswith("a??b?xxx")
    assert len(what.reason) == 200


counts = st.integers(0, 10**9)
details = st.builds(FailureDetails, st.sampled_from(TlsFailure), st.text(), st.text(), st.text(), st.text())
tallied = st.builds(
    PolicyTally,
    st.builds(AppliedPolicy, st.sampled_from(PolicyType), st.text(), st.tuples(st.text()), st.tuples(st.text())),
    counts,
    counts,
    st.lists(st.tuples(details, counts), max_size=3).map(tuple),
)
days = st.builds(DomainDay, st.dates(), st.text(), st.lists(tallied, max_size=3).map(tuple))


@given(days)
def test_a_day_comes_back_from_json(day: DomainDay) -> None:
    assert DomainDay.from_json(day.to_json()) == day


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"day": "x", "domain": "a", "tallies": []}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a day's tallies"):
        DomainDay.from_json(text)


TO = Mailbox.parse("tls@example.com")


@pytest.mark.parametrize(
    ("texts", "targets"),
    [
        (("v=TLSRPTv1; rua=mailto:tls@example.com",), ReportTargets((TO,))),
        (("v=TLSRPTv1;rua=mailto:tls@example.com;",), ReportTargets((TO,))),
        (("v=TLSRPTv1; rua=MAILTO:tls@example.com",), ReportTargets((TO,))),
        (("v=TLSRPTv1; rua=mailto:tls%40example.com?subject=x",), ReportTargets((TO,))),
        (("v=TLSRPTv1; x=1; rua = mailto:tls@example.com",), ReportTargets((TO,))),
        (("v=spf1 -all", "v=TLSRPTv1; rua=mailto:tls@example.com"), ReportTargets((TO,))),
        (
            ("v=TLSRPTv1; rua=mailto:tls@example.com , https://tls.example.com/v1,mailto:tls@example.com",),
            ReportTargets((TO,), ("https://tls.example.com/v1",)),
        ),
        (("v=TLSRPTv1; rua=mailto:no mailbox",), ReportTargets((), ("mailto:no mailbox",))),
        (("v=TLSRPTv1; rua=mailto:%ff@example.com",), ReportTargets((), ("mailto:%ff@example.com",))),
        (("v=TLSRPTv1; rua=mailto:a%0d%0ab@example.com",), ReportTargets((), ("mailto:a%0d%0ab@example.com",))),
        (("v=TLSRPTv1; rua=",), ReportTargets()),
        ((), None),
        (("v=TLSRPTv1",), None),
        (("v=TLSRPTv1; x=1",), None),
        (("v=TLSRPTv2; rua=mailto:tls@example.com",), None),
        (("v=TLSRPTv1; rua=mailto:tls@example.com",) * 2, None),
    ],
)
def test_a_domain_says_where_its_reports_go(texts: tuple[str, ...], targets: ReportTargets | None) -> None:
    assert parse_txt(texts) == targets


@given(st.text(max_size=60).map(lambda text: f"v=TLSRPTv1; rua=mailto:{text}"))
def test_any_text_gives_mailboxes_that_are_some(text: str) -> None:
    found = parse_txt([text])
    assert found is not None
    for mailbox in found.mailboxes:
        assert Mailbox.parse(str(mailbox)) == mailbox
