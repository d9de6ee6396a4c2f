"""Failures told in prose (qmail, Exim, Exchange, gateways): whether a message tells of one, of whom, in which words.

Formats are not told apart one by one. A notice is cut where our own message begins; what remains names the failed
addresses in prominent places: alone on a line, first on a line, behind a label.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parseaddr
from functools import cached_property

from mta.bounces.classify import Classifier
from mta.bounces.letter import Letter, returned_header
from mta.bounces.phrases import fold
from mta.bounces.quoted import addresses, is_address, quote
from mta.bounces.report import Action, Kind, Report, ReportedRecipient
from mta.bounces.rules import Notices
from mta.mail.header import Header

_MAX_LINES = 400
_MAX_RECIPIENTS = 100
_OPENING = 2500
_END_LINE = 120
"""Letters of a line that can announce the returned message; a sentence that mentions one may be longer."""

_RULER = "-=_*+~#|>[( \t"
_HEADER_LINE = re.compile(r"(?:Received|Return-Path|DKIM-Signature|MIME-Version|X-Received): ?\S", re.IGNORECASE)
_LEAD = re.compile(r"[\s*\-•>=|#.\"(\[]*")
_LABEL = re.compile(r"[^\s@<>:][^@<>:\n]{0,40}[:=]\s{0,20}[\"'<(\[]{0,2}(?:(?:SMTP|smtp|(?i:rfc)822)[:;]\s?)?")
_MESSAGE_LABEL = re.compile(r"(?:to|cc|an|pour|para|a|aan|кому|宛先|收件人)\s*[:=]", re.IGNORECASE)
_OURS = re.compile(
    r"\s*(?:subject|betreff|objet|asunto|assunto|oggetto|onderwerp|тема|件名|主题|date|sent|message-id)\s*:",
    re.IGNORECASE,
)
_SENT_BY = re.compile(r"(?<!generated )\b(?:from|von|sender)[:\s]{0,3}<?\Z", re.IGNORECASE)
_ROLES = frozenset({"postmaster", "abuse", "mailer-daemon", "hostmaster", "support", "helpdesk", "noreply", "no-reply"})
_ANSWERED = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg|tr|rv|enc|i|vs)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Mention:
    address: str
    line: int
    rank: int
    """3: first on its line, 2: behind a label, 1: somewhere, 0: in what looks like our message's header."""


class Notice:
    """One letter, read as a notice of failure."""

    def __init__(self, letter: Letter, rules: Notices) -> None:
        self._letter = letter
        self._rules = rules
        self.subject = letter.field("Subject")

    @cached_property
    def lines(self) -> list[str]:
        """The notice, without the message that was sent back and without what it quotes."""
        return self._cut[0]

    @cached_property
    def text(self) -> str:
        """The notice."""
        return "\n".join(self.lines)

    @cached_property
    def returned(self) -> Header:
        """The header of our message, from its own part or from the end of the notice."""
        attached = self._letter.returned
        return attached if attached.fields else returned_header(self._cut[1])

    @cached_property
    def is_delay(self) -> bool:
        """Whether it only says that something is late."""
        told = fold(self.text[:_OPENING])
        late = self._rules.delays.any_in(told) or self._rules.delays.any_in(fold(self.subject))
        return late and not self._rules.finals.any_in(told)

    @cached_property
    def _writer(self) -> tuple[str, str]:
        """Name and address of From, both empty where it is nested beyond reading."""
        try:
            return parseaddr(self._letter.field("From"))
        except RecursionError:
            return "", ""

    @cached_property
    def is_from_system(self) -> bool:
        """Whether it comes from where only mail systems write: their mailboxes, or nowhere."""
        name, address = self._writer
        local_part = fold(address.rpartition("@")[0] or address or name)
        return bool(self._letter.field("X-Failed-Recipients")) or self._rules.mailboxes.any_begins(local_part)

    @cached_property
    def is_failure(self) -> bool:
        """Whether a mail system wrote it, to tell that something failed or is late."""
        if _ANSWERED.match(self.subject) and not self._is_null:
            return False
        told = (
            self._rules.subjects.any_in(fold(self.subject)),
            self._rules.openings.any_in(fold(self.text[:_OPENING])),
        )
        if self.is_from_system or self._is_null:
            return all(told) or (any(told) and bool(self.failed()))
        # anybody can call himself a mail system: then everything else must fit, and somebody must be named
        name, _ = self._writer
        named = self._rules.senders.any_in(fold(name)) or self._letter.report_type == "delivery-status"
        automatic = self._letter.field("Auto-Submitted").lower() not in ("", "no") or self._letter.returned.fields
        return all(told) and bool(named or automatic) and bool(self._mentioned)

    @property
    def names_somebody(self) -> bool:
        """Whether its text names whom it is about."""
        return bool(self._mentioned)

    def about(self, address: str) -> str:
        """Return the lines about one recipient; empty when it is not mentioned."""
        here = [number for number, line in enumerate(self._lowered) if address and address.lower() in line]
        if not here:
            return ""
        others = {mention.line for mention in self._mentioned if mention.address.lower() != address.lower()}
        kept: list[str] = []
        last = -1
        for start in here:
            for number in range(max(start, last + 1), len(self.lines)):
                if number in others:
                    break
                kept.append(self.lines[number])
                last = number
        return "\n".join(kept)

    @cached_property
    def _lowered(self) -> list[str]:
        return [line.lower() for line in self.lines]

    def failed(self) -> list[str]:
        """Return the addresses that it tells of."""
        declared = addresses(", ".join(self._letter.fields("X-Failed-Recipients")))
        if declared:
            return declared[:_MAX_RECIPIENTS]
        named = list(dict.fromkeys(mention.address for mention in self._mentioned))
        return (named or self._sent_to())[:_MAX_RECIPIENTS]

    @property
    def _is_null(self) -> bool:
        path = self._letter.field("Return-Path").strip()
        return path == "<>" or fold(path.strip("<>")).startswith("mailer-daemon")

    @cached_property
    def _cut(self) -> tuple[list[str], str]:
        """The lines of the notice, and the text behind them."""
        lines = self._letter.prose.split("\n")
        kept: list[str] = []
        for number, line in enumerate(lines[:_MAX_LINES]):
            stripped = line.strip()
            is_end = len(stripped) <= _END_LINE and self._rules.ends.any_begins(fold(stripped.lstrip(_RULER)))
            if kept and (is_end or _HEADER_LINE.match(line)):
                return kept, "\n".join(lines[number + is_end :]).lstrip("-=\n ")
            # a mail system marks with it, a person quotes with it
            if self.is_from_system or not stripped.startswith(">"):
                kept.append(line.rstrip())
        return kept, ""

    @cached_property
    def _mentioned(self) -> list[_Mention]:
        """The most prominent mentions of addresses that are neither ours nor a postmaster's."""
        ours = {
            address.lower() for name in ("To", "From", "Reply-To") for address in addresses(self._letter.field(name))
        }
        found = [mention for mention in self._mentions() if mention.address.partition("@")[0].lower() not in _ROLES]
        others = [mention for mention in found if mention.address.lower() not in ours]
        if not others and self.is_from_system:
            # mail to oneself
            others = [mention for mention in found if mention.rank >= 2]
        best = max((mention.rank for mention in others), default=0)
        return [mention for mention in others if mention.rank == best]

    def _mentions(self) -> Iterator[_Mention]:
        for number, line in enumerate(self.lines):
            if "@" not in line or self._rules.strangers.any_in(fold(line)):
                continue
            found = addresses(line)
            if len(found) > 1 and f"{found[0]} <{found[1]}" in line:
                # the first is but the name of the second
                found = found[1:]
            for position, address in enumerate(found):
                if not _SENT_BY.search(line[: line.find(address)]):
                    yield _Mention(address, number, _rank(line, address) if position == 0 else 1)

    def _sent_to(self) -> list[str]:
        """Whom our message went to, when the notice names nobody and there is only one to choose."""
        for name in ("X-Envelope-To", "X-Original-To", "Delivered-To", "To"):
            field = self.returned.first(name)
            if field is not None and len(found := addresses(field.text)) == 1:
                return found
        return []


def read(notice: Notice, classifier: Classifier) -> Report | None:
    """Return what a notice tells; None when it is none."""
    if not notice.is_failure:
        return None
    late = notice.is_delay
    failed = notice.failed()
    recipients = tuple(_recipient(address, notice, classifier, late=late, alone=len(failed) == 1) for address in failed)
    return Report(Kind.DELAYED if late else Kind.BOUNCE, recipients)


def _recipient(address: str, notice: Notice, classifier: Classifier, *, late: bool, alone: bool) -> ReportedRecipient:
    near = told(notice.text if alone else notice.about(address))
    reply = quote(near)
    meaning = classifier.reply(reply.code, reply.status, reply.context, near, notice.subject)
    return ReportedRecipient(
        address, Action.DELAYED if late else Action.FAILED, reply.status, reply.code, meaning, reply.text
    )


def told(text: str) -> str:
    """Return a notice without the lines in which it describes our message: its subject explains no failure."""
    return "\n".join(line for line in text.split("\n") if not _OURS.match(line))


def _rank(line: str, address: str) -> int:
    rest = line[_LEAD.match(line).end() :].lstrip("<")  # type: ignore[union-attr]  # matches the empty string
    if rest.startswith(address):
        return 3
    if _MESSAGE_LABEL.match(rest):
        return 0
    label = _LABEL.match(rest)
    return 2 if label and is_address(address) and rest[label.end() :].lstrip("<").startswith(address) else 1
