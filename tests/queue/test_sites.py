"""When a site is left alone, for how long, and what ends it: tables, without a loop."""

import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, TlsUse, Try
from mta.mail.reply import Reply
from mta.queue.sites import BackOff, Rest, Rests, Said, Standing, has_answered, is_about_site

REFUSED = Reply.of(451, "4.4.1", "No connection to the host: Connection refused")
BLOCKED = Reply.of(554, "5.7.1", "your address is not welcome")
BUSY = Reply.of(421, "4.3.2", "too many connections")
LATER = Reply.of(451, "4.7.1", "try later")
OK = Reply.of(250, "2.0.0", "Ok")


def tried(stage: str, reply: Reply, *, remote: bool) -> Try:
    return Try("mx.example.net", "192.0.2.1", 25, stage, reply, remote)


@pytest.mark.parametrize(
    ("tries", "about_site", "answered"),
    [
        ([("connect", REFUSED, False)], True, False),
        ([("greeting", BLOCKED, True)], True, False),
        ([("greeting", BUSY, True)], True, False),
        ([("ehlo", BLOCKED, True)], True, False),
        ([("auth", BLOCKED, True)], True, False),
        ([("starttls", BLOCKED, True)], True, False),
        # what we demand of TLS may differ from one delivery to the next
        ([("starttls", LATER, False)], False, False),
        ([("ehlo", failures.NO_REQUIRETLS, False), ("connect", REFUSED, False)], False, False),
        ([("ehlo", LATER, False)], True, False),
        ([("mail", BUSY, True)], True, False),
        ([("mail", LATER, False)], True, False),
        ([("mail", LATER, True)], False, True),
        ([("rcpt", LATER, True)], False, True),
        ([("rcpt", LATER, False)], False, False),
        ([("dot", LATER, True)], False, True),
        # one host of several spoke
        ([("connect", REFUSED, False), ("rcpt", LATER, True)], False, True),
        ([("connect", REFUSED, False), ("greeting", BLOCKED, True)], True, False),
        ([], False, False),
    ],
)
def test_a_failure_is_about_the_site_when_no_host_let_it_come_to_its_recipient(
    tries: list[tuple[str, Reply, bool]], about_site: bool, answered: bool
) -> None:
    made = tuple(tried(stage, reply, remote=remote) for stage, reply, remote in tries)
    outcome = Deferred(tries[-1][1] if tries else LATER, made)
    assert (is_about_site(outcome), has_answered(outcome)) == (about_site, answered)


def test_a_host_that_a_policy_forbids_says_nothing_of_the_site() -> None:
    """Policies are the recipients' domains', and many of these share a site."""
    skipped = replace(tried("connect", LATER, remote=False), address="", tls=TlsUse("", "", "mta-sts"))
    assert not is_about_site(Deferred(LATER, (skipped,)))


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered(OK, (tried("connect", REFUSED, remote=False), tried("dot", OK, remote=True))),
        Bounced(BLOCKED, (tried("connect", REFUSED, remote=False),)),
    ],
)
def test_what_is_not_to_be_tried_again_lets_no_site_rest(outcome: Outcome) -> None:
    assert not is_about_site(outcome)


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10_000, 60)])
def test_a_rest_doubles_up_to_its_bound_with_jitter(failures: int, minutes: int) -> None:
    spans = [BackOff().after(failures, random.Random(seed)) for seed in range(50)]
    assert all(timedelta(minutes=minutes) * 0.9 <= span <= timedelta(minutes=minutes) * 1.1 for span in spans)
    assert len(set(spans)) > 1


def rests() -> Rests:
    return Rests(BackOff(), random.Random(1))


def test_after_a_failure_nobody_goes_until_the_rest_ends_and_then_one_alone() -> None:
    book = rests()
    assert book.enter("mx", 100.0) is Standing.OPEN
    rest = book.failed("mx", Said(REFUSED), began=100.0, now=101.0)
    assert rest is not None
    assert book.enter("mx", rest.until - 0.1) is Standing.RESTING
    assert book.enter("mx", rest.until) is Standing.PROBE
    assert book.enter("mx", rest.until) is Standing.RESTING
    assert book.closed(rest.until) == {"mx"}
    book.left("mx")
    assert book.enter("mx", rest.until) is Standing.PROBE


def test_attempts_that_were_begun_before_the_rest_do_not_make_it_longer() -> None:
    book = rests()
    first = book.failed("mx", Said(REFUSED), began=100.0, now=101.0)
    assert book.failed("mx", Said(REFUSED), began=100.5, now=102.0) is None
    assert book.of("mx") == first


def test_a_probe_that_fails_doubles_the_rest_and_an_answer_ends_it() -> None:
    book = rests()
    first = book.failed("mx", Said(REFUSED), began=0.0, now=1.0)
    assert first is not None
    book.enter("mx", first.until)
    second = book.failed("mx", Said(BLOCKED), began=first.until, now=first.until + 1)
    book.left("mx")
    assert second is not None
    assert second.failures == 2
    assert second.until - second.since > 1.5 * (first.until - first.since)
    assert book.answered("mx")
    assert not book.answered("mx")
    assert book.enter("mx", second.since) is Standing.OPEN
    assert book.next_end(0.0) is None


def test_rests_that_were_noted_are_taken_over_unless_ours_is_longer() -> None:
    book = rests()
    book.resume(Rest("mx", 0.0, 50.0, 3, Said(REFUSED)))
    book.resume(Rest("mx", 0.0, 20.0, 1, Said(REFUSED)))
    assert book.next_end(10.0) == 40.0
    assert book.look("mx", 49.0) is Standing.RESTING


def test_a_site_that_nobody_writes_to_any_more_is_forgotten() -> None:
    book = rests()
    book.resume(Rest("mx", 0.0, 50.0, 3, Said(REFUSED)))
    assert book.closed(200_000.0) == frozenset()
    assert book.of("mx") is None
