"""The world outside the queue, scripted: a router, a sealer and a transport whose answers a test sets.

With them what the queue is told of standings and of the meaning of replies: the shipped rules are the real ones.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from importlib import resources

from mta.accounts.standing import Standing, State
from mta.bounces.classify import Classifier
from mta.bounces.rules import Rules
from mta.events import Event
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.mail.reply import Reply
from mta.queue.model import Claimed, Message
from mta.queue.seams import Hold, Host, Letter, Site, Unsigned
from mta.queue.verdict import Verdicts
from mta.reputation.suppression import Cause, Expiry

RULES = Rules.parse(resources.files("mta.bounces").joinpath("rules.toml").read_text(encoding="utf-8"))
OK = Reply.of(250, "2.0.0", "Ok")


def said(reply: Reply, stage: str = "rcpt") -> tuple[Try, ...]:
    """Return the tries of an attempt in which one host gave one reply."""
    return (Try("mx.example.net", "192.0.2.1", 25, stage, reply, remote=True),)


def verdicts(spans: Mapping[Cause, timedelta | None] | None = None) -> Verdicts:
    """Return the shipped rules' verdicts, with entries that stay unless spans are given."""
    return Verdicts(Classifier(RULES), Expiry(spans or {}))


def stamp(claimed: Claimed) -> bytes:
    """Return a report field that tests recognise; none for mail from the null reverse-path."""
    if claimed.message.reverse_path.is_null:
        return b""
    return b"X-Report-Token: %s\r\n" % claimed.delivery.id.encode()


class Suspensions:
    """Who may not send."""

    def __init__(self) -> None:
        self._standings: dict[tuple[str, str], Standing] = {}

    def suspend(self, account: str, stream: str, reason: str) -> None:
        """Suspend a stream."""
        self._standings[account, stream] = Standing(account, stream, State.SUSPENDED, reason)

    def find(self, account: str, stream: str) -> Standing | None:
        """Return the standing by which a stream may not send."""
        return self._standings.get((account, stream))


class FakeRouter:
    """Every domain is a site of its own, unless a test says otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, Site | Hold | Bounced | Deferred] = {}
        self.gates: dict[str, asyncio.Event] = {}
        """Domains that are looked up only when a test lets them."""

    def held(self, domain: str, account: str = "") -> str | None:
        """Return why mail for a domain is kept."""
        answer = self.answers.get(domain)
        return answer.reason if isinstance(answer, Hold) else None

    async def route(self, domain: str, account: str = "") -> Site | Hold | Bounced | Deferred:
        """Return the domain's site."""
        if (gate := self.gates.get(domain)) is not None:
            await gate.wait()
        return self.answers.get(domain) or Site(f"mx.{domain}", (Host(f"mx.{domain}", 25),))


class FakeSealer:
    """Signs with a field that tests recognise."""

    def __init__(self) -> None:
        self.refusal: str | None = None

    async def seal(self, message: Message, header: bytes) -> bytes:
        """Return a signature."""
        if self.refusal is not None:
            raise Unsigned(self.refusal)
        return b"DKIM-Signature: fake\r\n"


class FakeTransport:
    """Takes letters. Outcomes are set for a recipient, first come first used; the rest is delivered."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.outcomes: dict[str, deque[Outcome | Exception]] = defaultdict(deque)
        self.gate: asyncio.Event | None = None
        """While set to an event, attempts wait for it before the dot."""
        self.gate_after_dot: asyncio.Event | None = None
        """The same, behind the dot."""
        self.gates: dict[str, asyncio.Event] = {}
        """The same for single sites, by name: a site that hangs."""
        self.sites: dict[str, Outcome] = {}
        """What every attempt at a site brings, whoever it is for, before a recipient is named."""
        self.turns: asyncio.Semaphore | None = None
        """While set, an attempt ends only when a test gives it a turn."""
        self.begun: list[str] = []
        """Whose attempt was begun, in order."""
        self.waiting = 0
        self.most_in_batch: int | None = None
        """How many recipients are taken in one transaction; the rest is to be sent next."""
        self.most_at_once = 0
        self._now = 0

    def answer(self, recipient: str, *outcomes: Outcome | Exception) -> None:
        """Set what the next attempts for a recipient bring."""
        self.outcomes[recipient].extend(outcomes)

    async def deliver(self, letter: Letter, site: Site, still_ours: Callable[[], Awaitable[bool]]) -> Outcome:
        """Make one attempt."""
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.begun.append(str(letter.recipient.mailbox))
        try:
            if (gate := self.gates.get(site.name)) is not None:
                self.waiting += 1
                await gate.wait()
            if self.turns is not None:
                await self.turns.acquire()
            return self.sites.get(site.name) or await self._deliver(letter, still_ours)
        finally:
            self._now -= 1

    async def deliver_batch(
        self, letter: Letter, site: Site, still_ours: Callable[[], Awaitable[bool]]
    ) -> tuple[Outcome | None, ...]:
        """Make one attempt for several; the outcomes are those that are set for each."""
        self.begun += [str(one.mailbox) for one in letter.recipients]
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        if (outcome := self.sites.get(site.name)) is not None:
            return (outcome,) * len(letter.recipients)
        if not await still_ours():
            return (Deferred(Reply.of(451, "4.3.0", "dropped")),) * len(letter.recipients)
        if self.gate_after_dot is not None:
            self.waiting += 1
            await self.gate_after_dot.wait()
        self.letters.append(letter)
        taken = letter.recipients[: self.most_in_batch]
        surplus = (None,) * (len(letter.recipients) - len(taken))
        return tuple(self._outcome_of(str(one.mailbox)) for one in taken) + surplus

    def _outcome_of(self, recipient: str) -> Outcome:
        set_for_it = self.outcomes[recipient]
        outcome = set_for_it.popleft() if set_for_it else Delivered(OK, said(OK, "dot"))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _deliver(self, letter: Letter, still_ours: Callable[[], Awaitable[bool]]) -> Outcome:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        if not await still_ours():
            return Deferred(Reply.of(451, "4.3.0", "dropped"))
        if self.gate_after_dot is not None:
            self.waiting += 1
            await self.gate_after_dot.wait()
        self.letters.append(letter)
        return self._outcome_of(str(letter.recipient.mailbox))

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def recipients(self) -> list[str]:
        """Who was attempted, in order."""
        return [str(letter.recipient.mailbox) for letter in self.letters]


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Take note."""
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        """The types of what was observed, in order."""
        return [event.type.value for event in self.events]
