"""Sites that are left alone for a while: when attempts there fail for reasons that are not one mail's, one probe in a
while is enough to learn that it is over.

Times are seconds of the monotonic clock, which its user reads. Who waits meanwhile, and where, is the dispatcher's
business; the shipped schedule of each delivery is not touched by a rest.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from msgspec import Struct

from mta.mail import failures
from mta.mail.outcome import Deferred, Outcome, Try
from mta.mail.reply import Reply

JITTER = 0.10
_CLOSING = 421
_FORGOTTEN_AFTER = 24 * 3600.0
_BEFORE_MAIL = frozenset({"connect", "greeting", "ehlo", "auth"})
_OPENING = _BEFORE_MAIL | {"starttls"}


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a site is left alone: at first, and at most. Each failed probe doubles it."""

    first: timedelta = timedelta(minutes=1)
    max: timedelta = timedelta(hours=1)

    def after(self, failures: int, dice: random.Random) -> timedelta:
        """Return the rest after so many failures in a row."""
        # the exponent is bounded: a site that is dead for weeks must not overflow
        span = min(self.first * (1 << min(failures - 1, 20)), self.max)
        return span * (1 + JITTER * (2 * dice.random() - 1))


class Standing(Enum):
    """Whether an attempt may begin at a site."""

    OPEN = auto()
    PROBE = auto()
    """It may, and it alone: whoever was told so says how it ended."""
    RESTING = auto()


@dataclass(frozen=True, slots=True)
class Said:
    """What was last heard at a site, or seen there."""

    reply: Reply
    host: str | None = None
    """The host that said it; None when nobody did, or it is not known any more."""


class Rest(Struct, frozen=True):
    """A site that is left alone."""

    site: str
    since: float
    until: float
    failures: int
    said: Said


class Rests:
    """Which sites rest. What ends a rest makes it forgotten, so that only troubled sites take memory."""

    def __init__(self, back_off: BackOff, dice: random.Random) -> None:
        self._back_off = back_off
        self._dice = dice
        self._rests: dict[str, Rest] = {}
        self._probing: set[str] = set()

    def replace(self, back_off: BackOff) -> None:
        """Let rests be as long as this from the next one on."""
        self._back_off = back_off

    def look(self, site: str, now: float) -> Standing:
        """Return whether an attempt may begin, without beginning one."""
        rest = self._rests.get(site)
        if rest is None:
            return Standing.OPEN
        return Standing.RESTING if now < rest.until or site in self._probing else Standing.PROBE

    def enter(self, site: str, now: float) -> Standing:
        """Return whether an attempt may begin; the one that is told `PROBE` must be ended by `left`."""
        standing = self.look(site, now)
        if standing is Standing.PROBE:
            self._probing.add(site)
        return standing

    def left(self, site: str) -> None:
        """The probe is over, however it ended."""
        self._probing.discard(site)

    def failed(self, site: str, said: Said, began: float, now: float) -> Rest | None:
        """Let a site rest after an attempt that began at a time. None: it was begun before the rest that holds, so
        that it says nothing new."""
        before = self._rests.get(site)
        if before is not None and began < before.until:
            return None
        failures = 1 if before is None else before.failures + 1
        span = self._back_off.after(failures, self._dice).total_seconds()
        rest = self._rests[site] = Rest(site, now, now + span, failures, said)
        return rest

    def resume(self, rest: Rest) -> None:
        """Take over a rest that was noted elsewhere, or before a restart; ours stays if it is longer."""
        mine = self._rests.get(rest.site)
        if mine is None or mine.until < rest.until:
            self._rests[rest.site] = rest

    def answered(self, site: str) -> bool:
        """A host there took part in a transaction: the rest is over. Whether there was one."""
        return self._rests.pop(site, None) is not None

    def of(self, site: str) -> Rest | None:
        """Return the rest of a site; None when it does not rest."""
        return self._rests.get(site)

    def closed(self, now: float) -> frozenset[str]:
        """Return the sites where no attempt may begin."""
        for site in [site for site, rest in self._rests.items() if now - rest.until > _FORGOTTEN_AFTER]:
            # nobody has written there since
            del self._rests[site]
        return frozenset(site for site in self._rests if self.look(site, now) is Standing.RESTING)

    def next_end(self, now: float) -> float | None:
        """Return in how many seconds the first rest ends; None when none is to come."""
        ends = [rest.until - now for rest in self._rests.values() if rest.until > now]
        return min(ends) if ends else None


def is_about_site(outcome: Outcome) -> bool:
    """Whether a failed attempt tells of the site as a whole: no host let it come to its recipient.

    TLS that fails by our own judgement is not: what is demanded may differ from one delivery to the next.
    """
    return isinstance(outcome, Deferred) and bool(outcome.tries) and all(map(_turned_away, outcome.tries))


def has_answered(outcome: Outcome) -> bool:
    """Whether some host took part in a transaction, whatever it said."""
    return any(one.remote and one.stage not in _OPENING and not _closed(one) for one in outcome.tries)


def _turned_away(one: Try) -> bool:
    match one.stage:
        case "starttls":
            return one.remote
        case "connect":
            # where something is told of TLS, a policy about it forbade to connect
            return one.tls is None
        case "ehlo":
            return one.remote or one.reply.status != failures.NO_REQUIRETLS.status
        case "mail":
            # nothing was said of the sender: the host went away, or wants to
            return not one.remote or _closed(one)
        case _:
            return one.stage in _BEFORE_MAIL


def _closed(one: Try) -> bool:
    return one.reply.code == _CLOSING
