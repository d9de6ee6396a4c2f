"""When a host says itself when to come again: read from the words of its 4yz reply, and honoured within bounds.

That a reply is one of greylisting is known by `bounces.classify`; that a delivery is tried again at all, and when it is
given up, by `schedule`.
"""

import random
import re
from dataclasses import dataclass
from datetime import timedelta

from mta.bounces.report import Classification, Reason
from mta.mail.outcome import Deferred
from mta.mail.reply import Reply

SHORTEST = timedelta(seconds=30)
LONGEST = timedelta(hours=4)
"""As long as the last of the default intervals: who asks for more is asked again before, as everybody is."""
GREYLISTED = timedelta(minutes=5)
"""The usual delay of postgrey, sqlgrey, rspamd and OpenBSD's spamd is between one and twenty-five minutes; most
installations keep their default, which is five minutes."""
EAGER_ATTEMPTS = 6
"""So often may a hint shorten the schedule: a host that says "in 30 seconds" for days is not asked like that."""
LATER_BY = 0.10
"""A host that names a time refuses what comes a second before it, so that chance only adds to it."""

_WINDOW = 400
"""Characters that are looked at on each side of a cue: a long text is someone's policy, not a time."""
_UNITS = {"s": 1, "m": 60, "h": 3600}
_SPAN = r"(\d{1,6})\s?(?:\(\w{1,20}\)\s)?(s|m|h)(?:ec(?:ond)?s?|in(?:ute)?s?|(?:ou)?rs?)?\b"
# each form with texts in the field; a table in the tests has them
_FORMS = (
    # milter-greylist "Greylisting in action, please come back in 00:05:00"
    re.compile(r"\b(?:in|after|for)\s(\d{1,3}):(\d\d):(\d\d)\b"),
    # postgrey "Greylisted for 300 seconds", "try again in 5 minutes", "retry after 60 seconds", "wait 120 s"
    re.compile(rf"\b(?:in|after|for|within|wait|least|another|=|:)\s(?:about\s)?{_SPAN}"),
    # postgrey's variants "300 seconds remaining", "retry-after: 300", "retry_in=300", "retry=300s"
    re.compile(rf"{_SPAN}\s(?:remaining|left|more|later)\b"),
    re.compile(r"\bretry[-_ ]?(?:after|in|time)?\s?[=:]\s?(\d{1,6})(?:\s?(s|m|h)\w{0,6})?\b"),
)
_CUE = re.compile(
    r"gr[ea]y|again|retry|retries|come back|later|wait|defer|delay|temporar"
    r"|resend|resubmit|reconnect|throttl|too many|rate"
)


def named_time(text: str) -> timedelta | None:
    """Return the time that a refusal names until another attempt is welcome; None when it names none.

    Only beside a word that speaks of coming again: "greylisted for 300 seconds" does, "connection idle for 300 seconds"
    does not. In linear time, whatever the text.
    """
    folded = re.sub(r"\s+", " ", text[:2000]).lower()
    cue = _CUE.search(folded)
    if cue is None:
        return None
    near = folded[max(0, cue.start() - _WINDOW) : cue.end() + _WINDOW]
    for form in _FORMS:
        if (found := form.search(near)) is not None:
            return _seconds(found)
    return None


@dataclass(frozen=True, slots=True)
class Hint:
    """When to come again."""

    wait: timedelta
    is_named: bool = True
    """The host said so itself: not before. Else it is what is usual, and a schedule that comes sooner stands."""


def hinted(outcome: Deferred, classification: Classification) -> Hint | None:
    """Return what a failed attempt tells of when to come again: what the host named, or greylisting's usual delay."""
    if not outcome.tries or outcome.tries[-1].reply != outcome.reply or not outcome.tries[-1].remote:
        return None
    reply: Reply = outcome.reply
    if not reply.is_transient:
        return None
    named = named_time(reply.text)
    if named is not None:
        return Hint(min(max(named, SHORTEST), LONGEST))
    return Hint(GREYLISTED, is_named=False) if classification.reason is Reason.GREYLISTED else None


def with_hint(wait: timedelta, hint: Hint | None, attempts: int, dice: random.Random) -> timedelta:
    """Return how long to wait when the schedule says one thing and the host another; `attempts` counts the last one."""
    if hint is None:
        return wait
    told = hint.wait * (1 + LATER_BY * dice.random())
    if told >= wait:
        return told if hint.is_named else wait
    return told if attempts <= EAGER_ATTEMPTS else wait


def _seconds(found: re.Match[str]) -> timedelta:
    groups = found.groups()
    if len(groups) == 3:
        hours, minutes, seconds = (int(each) for each in groups)
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timedelta(seconds=int(groups[0]) * _UNITS[groups[1] or "s"])
