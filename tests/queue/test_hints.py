"""Times that hosts name in their refusals: read where they are meant, passed over where they are not."""

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces.report import UNKNOWN, Classification, Hardness, Reason
from mta.mail.outcome import Deferred
from mta.mail.reply import Reply
from mta.queue.hints import GREYLISTED, LONGEST, SHORTEST, Hint, hinted, named_time, with_hint
from tests.fakes.world import said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # postgrey (Debian): its default text, and common variants of --greylist-text
        ("<a@example.net>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/x", None),
        ("<a@example.net>: Recipient address rejected: Greylisted for 300 seconds (see http://postgrey.example)", 300),
        ("Greylisting in action. Please try delivery again in 240 seconds.", 240),
        # milter-greylist
        ("Greylisting in action, please come back in 00:05:00", 300),
        ("Greylisting in action, please come back in 01:00:01", 3601),
        ("Greylisting in action, please come back later", None),
        ("in 00:04:59, please: you are greylisted", 299),
        # sqlgrey
        ("Greylisted for 5 minutes", 300),
        # policyd, rspamd, stalwart
        ("Policy Rejection- Hotkey Greylisting in progress ... Please try again after 2 minutes", 120),
        ("Greylisted, please try again in a few moments.", None),
        # Exim recipes and gld
        ("sender/recip/ip triad greylisted; retry AFTER A DECENT INTERVAL will succeed", None),
        ("Greylisting enabled, try again in 1 minutes", 60),
        ("Temporary local problem - please try later, retry after 15m", 900),
        # Microsoft and other large providers
        ("4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", None),
        ("Throttling failure: retry in 60 seconds", 60),
        ("Too many connections, slow down. Retry-After: 120", 120),
        ("Account inbounds disabled; retry=30s", 30),
        ("You have been rate limited. Please wait at least 1 hour before sending more", 3600),
        ("Try again in\n 300\tseconds", 300),
        ("try again in about 10 mins", 600),
        ("deferred, 90 seconds remaining", 90),
        # times that are not about coming again
        ("idle for 300 seconds, closing connection", None),
        ("mailbox is over quota since 5 days", None),
        ("message accepted 12:00:05", None),
        ("please try again; your limit is 100 messages per connection", None),
        ("", None),
    ],
)
def test_a_time_is_read_where_it_speaks_of_coming_again(text: str, seconds: int | None) -> None:
    assert named_time(text) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=3000) | st.text(alphabet="0123456789: inaftersmhgreyt\n", max_size=3000))
def test_any_text_names_a_time_or_none(text: str) -> None:
    named = named_time(text)
    assert named is None or named >= timedelta(0)


GREY = Classification(Reason.GREYLISTED, Hardness.SOFT)


@pytest.mark.parametrize(
    ("code", "text", "remote", "classification", "hint"),
    [
        (450, "greylisted for 300 seconds", True, GREY, Hint(timedelta(seconds=300))),
        (450, "greylisted for 1 second", True, GREY, Hint(SHORTEST)),
        (450, "greylisted for 99 hours", True, GREY, Hint(LONGEST)),
        (450, "greylisted", True, GREY, Hint(GREYLISTED, is_named=False)),
        (450, "try later", True, UNKNOWN, None),
        # what we say ourselves, "waited 300 s (greeting)", is no wish of the host's
        (451, "no answer; try again in 300 seconds", False, UNKNOWN, None),
        (550, "5.7.1 greylisted for 300 seconds", True, GREY, None),
    ],
)
def test_a_hint_is_kept_within_bounds_and_is_the_hosts_own(
    code: int, text: str, remote: bool, classification: Classification, hint: Hint | None
) -> None:
    reply = Reply.of(code, f"{code // 100}.7.1", text)
    tries = said(reply) if remote else ()
    assert hinted(Deferred(reply, tries), classification) == hint


@pytest.mark.parametrize(
    ("wait", "hint", "attempts", "least", "most"),
    [
        (300, None, 1, 300, 300),
        (300, 3600, 1, 3600, 3960),
        (14400, 300, 3, 300, 330),
        # a host that always says so does not shorten the schedule for ever, but may always lengthen it
        (14400, 300, 7, 14400, 14400),
        (300, 3600, 7, 3600, 3960),
    ],
)
def test_a_hint_replaces_the_schedule_a_little_late_and_never_early(
    wait: int, hint: int | None, attempts: int, least: int, most: int
) -> None:
    span = None if hint is None else Hint(timedelta(seconds=hint))
    for seed in range(20):
        got = with_hint(timedelta(seconds=wait), span, attempts, random.Random(seed))
        assert timedelta(seconds=least) <= got <= timedelta(seconds=most)


@pytest.mark.parametrize(("wait", "least", "most"), [(1, 1, 1), (300, 300, 330), (14400, 300, 330)])
def test_what_is_usual_only_shortens(wait: int, least: int, most: int) -> None:
    got = with_hint(timedelta(seconds=wait), Hint(GREYLISTED, is_named=False), 1, random.Random(1))
    assert timedelta(seconds=least) <= got <= timedelta(seconds=most)
