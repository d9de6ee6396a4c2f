"""Reading what comes back: which format it is taken for, and what cannot be read."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.bounces.letter import MAX_SIZE
from mta.bounces.reading import read
from mta.bounces.report import Kind, Report
from mta.bounces.rules import Rules
from tests.bounces.letters import plain, report

FAILED = (
    "Reporting-MTA: dns; mx.dest.example\n\nFinal-Recipient: rfc822; kay@dest.example\nAction: failed\nStatus: 5.1.1\n"
)
CORPUS = sorted((Path(__file__).parents[1] / "corpora" / "messages").glob("*.eml"))


def in_multipart(*parts: bytes, head: bytes) -> bytes:
    body = b"".join(b"--m\n" + part + b"\n" for part in parts)
    return head + b"Content-Type: multipart/mixed; boundary=m\n\n" + body + b"--m--\n"


def test_a_report_that_a_person_forwards_is_theirs(rules: Rules) -> None:
    head = b"From: Kay <kay@dest.example>\nSubject: Fwd: Undelivered Mail Returned to Sender\n"
    attached = in_multipart(
        b"Content-Type: text/plain\n\nWhat is this?", b"Content-Type: message/rfc822\n\n" + report(FAILED), head=head
    )
    taken_out = in_multipart(
        b"Content-Type: text/plain\n\nWhat is this?",
        b"Content-Type: message/delivery-status\n\n" + FAILED.encode(),
        head=head,
    )
    assert read(attached, rules) == Report(Kind.OTHER)
    assert read(taken_out, rules) == Report(Kind.OTHER)


def test_a_report_that_a_gateway_sends_on_is_read(rules: Rules) -> None:
    head = b"Return-Path: <>\nFrom: postmaster@gate.example\nSubject: Delivery Status Notification (Failure)\n"
    octets = in_multipart(b"Content-Type: message/rfc822\n\n" + report(FAILED), head=head)
    found = read(octets, rules)
    assert (found.kind, [recipient.address for recipient in found.recipients]) == (Kind.BOUNCE, ["kay@dest.example"])
    assert found.original_message_id == "<original@send.example.org>"


@pytest.mark.parametrize(
    ("report_type", "kind"),
    [
        ("disposition-notification", "message/disposition-notification"),
        ("tlsrpt", "application/tlsrpt+json"),
    ],
)
def test_reports_about_other_things_are_other(report_type: str, kind: str, rules: Rules) -> None:
    octets = report("Disposition: automatic-action/MDN-sent-automatically; displayed\n", "Read.", kind=kind)
    octets = octets.replace(b"report-type=delivery-status", f"report-type={report_type}".encode())
    octets = octets.replace(b"MAILER-DAEMON@", b"kay@").replace(b"Undelivered Mail Returned to Sender", b"Read: hello")
    assert read(octets.replace(b"<>", b"<kay@dest.example>", 1), rules).kind is Kind.OTHER


def test_a_domain_report_is_other(rules: Rules) -> None:
    octets = plain("This is an aggregate report.", Subject="Report Domain: send.example.org Submitter: dest.example")
    assert read(octets, rules) == Report(Kind.OTHER)


def test_what_is_too_large_is_other_with_a_note(rules: Rules) -> None:
    found = read(b"a" * (MAX_SIZE + 1), rules)
    assert (found.kind, found.note) == (Kind.OTHER, f"unreadable: more than {MAX_SIZE} octets")


def test_line_ends_make_no_difference(rules: Rules) -> None:
    octets = report(FAILED)
    assert read(octets.replace(b"\n", b"\r\n"), rules) == read(octets, rules)


@pytest.mark.parametrize(
    "octets",
    [
        report(FAILED * 4000),
        report(
            "".join(f"Final-Recipient: rfc822; u{n}@d.example\nAction: failed\n\n" for n in range(9000)),
            "could not be delivered " + " ".join(f"u{n}@d.example" for n in range(100)) + "\nzxq zxq" * 390,
        ),
        plain("a@" * 30_000, From="MAILER-DAEMON", Subject="failure notice"),
        plain("could not be delivered " + ":550 " * 13_000, From="MAILER-DAEMON", Subject="failure notice"),
        plain(
            "could not be delivered " + "zxq " * 10_000,
            From="MAILER-DAEMON",
            X_Failed_Recipients=",".join(f"u{n}@d.example" for n in range(3000)),
        ),
    ],
    ids=["one recipient often", "many recipients", "addresses", "codes", "declared recipients"],
)
def test_the_worst_that_the_limits_allow_takes_little_time(octets: bytes, rules: Rules) -> None:
    started = time.perf_counter()
    assert len(read(octets, rules).recipients) <= 100
    assert time.perf_counter() - started < 3


@given(st.binary(max_size=3000))
@settings(deadline=None)
def test_any_octets_give_a_report(rules: Rules, octets: bytes) -> None:
    assert read(octets, rules).kind in Kind


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message of the corpus, damaged."""
    octets = draw(st.sampled_from(CORPUS)).read_bytes()
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(octets)))
        end = start + draw(st.integers(0, 200))
        new = draw(
            st.binary(max_size=20) | st.sampled_from([b"", b"\n\n", b"\r", b"--", b"=?utf-8?q?", b"\0", b";" * 99])
        )
        octets = octets[:start] + new + octets[end:]
    return octets


@given(mutated())
@settings(deadline=None)
def test_any_damage_gives_a_report_fit_to_be_printed(rules: Rules, octets: bytes) -> None:
    found = read(octets, rules)
    assert found.kind in Kind
    for recipient in found.recipients:
        assert "@" in recipient.address
        assert not any(letter in recipient.diagnostic + recipient.address for letter in "\n\r\0\x1b\u2028")
