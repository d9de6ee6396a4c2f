"""A returned message: what it proves, of which delivery, and what follows from it.

Only our own tokens prove anything (BATV's idea): the return path that a bounce was sent to, or what a feedback report
sends back of ours. What the report says in its text never chooses the recipient. What follows is done by a `Ledger`,
which the queue provides. Nothing is ever sent to the sender of a bounce.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from mta.bounces.report import Action, Kind, Report, ReportedRecipient
from mta.mail.report_token import REPORT_FIELD, ReportClaim, ReportTokens
from mta.mail.token import GroupPath, ReturnPaths

READING_TIME = timedelta(seconds=10)
"""For one report, in a thread; one that takes longer is kept as unreadable."""
MOST_AT_ONCE = 2
"""Reports read at the same time: a flood of them leaves the processor to the mail that goes out."""

_UNREADABLE = Report(Kind.OTHER, note="unreadable, see the log")

_log = logging.getLogger(__name__)


class Effect(StrEnum):
    """What came of a report."""

    APPLIED = "applied"
    """It changed what happens next."""
    REPEATED = "repeated"
    """The same was told before, or the delivery is in a state that it cannot change."""
    UNKNOWN = "unknown delivery"
    """It is about a delivery that nothing is known of, any more."""
    NOTED = "noted"
    """It says nothing that changes anything: delayed, delivered, a vacation."""
    STRANGER = "names nobody of its batch"
    """Its return path is shared, and it names none of those who share it: whom it is about is not proved."""
    REJECTED = "rejected"
    """It has no token of ours."""


class Ledger(Protocol):
    """Does what follows."""

    async def failed(self, delivery_id: str, recipient: ReportedRecipient, report: Report) -> Effect:
        """A host that had accepted a delivery says now that it failed."""
        ...

    async def complained(self, delivery_id: str, claim: ReportClaim | None, report: Report) -> Effect:
        """The recipient of a delivery called it spam; the claim stands in when the delivery's rows are gone."""
        ...

    async def named(self, path: GroupPath, addresses: Collection[str]) -> Mapping[str, str]:
        """Return the deliveries with a shared return path that addresses name, by address."""
        ...

    async def noted(self, delivery_id: str | None, report: Report, effect: Effect) -> None:
        """Keep a note of a report that changes nothing."""
        ...


class Counts(Protocol):
    """Who counts."""

    def report_rejected(self, reason: str) -> None:
        """A report changed nothing: no token (`token`), an unknown `delivery`, `repeated`, `unreadable`, `other`."""
        ...


class Processor:
    """Reads what came back and hands on what it proves."""

    def __init__(
        self,
        read: Callable[[bytes], Report],
        ledger: Ledger,
        return_paths: ReturnPaths,
        report_tokens: ReportTokens,
        counts: Counts,
        reading_time: timedelta = READING_TIME,
    ) -> None:
        """`read` takes any octets and returns what they report, in bounded time and memory."""
        self._read = read
        self._ledger = ledger
        self._return_paths = return_paths
        self._report_tokens = report_tokens
        self._counts = counts
        self._reading_time = reading_time
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)

    def replace_keys(self, return_paths: ReturnPaths, report_tokens: ReportTokens) -> None:
        """Prove tokens with another keyring from now on."""
        self._return_paths, self._report_tokens = return_paths, report_tokens

    async def returned(self, delivery_id: str, octets: bytes) -> Effect:
        """A message came to the return path of a delivery, whose token was proved.

        Raises:
            StoreUnavailable: nothing came of it yet; the host must try again.
        """
        report = await self._read_in_time(octets)
        match report.kind:
            case Kind.BOUNCE if (failure := _failure(report)) is not None:
                return self._counted(await self._ledger.failed(delivery_id, failure, report))
            case Kind.COMPLAINT:
                return self._counted(await self._ledger.complained(delivery_id, None, report))
            case _:
                await self._ledger.noted(delivery_id, report, Effect.NOTED)
                return Effect.NOTED

    async def returned_to_group(self, path: GroupPath, octets: bytes) -> Effect:
        """A message came to a return path that several deliveries share, whose token was proved. It acts on those of
        them alone that it names.

        Raises:
            StoreUnavailable: nothing came of it for some of them yet; told again, it counts once.
        """
        report = await self._read_in_time(octets)
        match report.kind:
            case Kind.BOUNCE:
                return await self._failed_in_group(path, report)
            case Kind.COMPLAINT:
                return await self._complained_in_group(path, report)
            case _:
                await self._ledger.noted(None, report, Effect.NOTED)
                return Effect.NOTED

    async def _failed_in_group(self, path: GroupPath, report: Report) -> Effect:
        failed = _failures(report)
        known = await self._ledger.named(path, {each.address for each in failed})
        effects = {
            self._counted(await self._ledger.failed(known[each.address], each, report))
            for each in failed
            if each.address in known
        }
        return await self._of_group(effects, report)

    async def _complained_in_group(self, path: GroupPath, report: Report) -> Effect:
        known = await self._ledger.named(path, {each.address for each in report.recipients})
        effects = {
            self._counted(await self._ledger.complained(delivery_id, None, report))
            for delivery_id in dict.fromkeys(known.values())
        }
        return await self._of_group(effects, report)

    async def _of_group(self, effects: Collection[Effect], report: Report) -> Effect:
        if effects:
            return Effect.APPLIED if Effect.APPLIED in effects else next(iter(effects))
        self._counts.report_rejected("recipient")
        await self._ledger.noted(None, report, Effect.STRANGER)
        return Effect.STRANGER

    async def fed_back(self, octets: bytes) -> Effect:
        """A message came to the feedback address.

        Raises:
            StoreUnavailable: nothing came of it yet; the host must try again.
        """
        report = await self._read_in_time(octets)
        if report.kind is Kind.COMPLAINT:
            claim = self._claim(report)
            delivery_id = claim.delivery_id if claim is not None else self._by_return_path(report)
            if delivery_id is not None:
                return self._counted(await self._ledger.complained(delivery_id, claim, report))
            if (path := self._by_shared_path(report)) is not None:
                return await self._complained_in_group(path, report)
        if report.note is None:  # the unreadable is counted already
            self._counts.report_rejected("token" if report.kind is Kind.COMPLAINT else "other")
        await self._ledger.noted(None, report, Effect.REJECTED)
        return Effect.REJECTED

    async def _read_in_time(self, octets: bytes) -> Report:
        async with self._turn:
            try:
                async with asyncio.timeout(self._reading_time.total_seconds()):
                    report = await asyncio.to_thread(self._read, octets)
            except TimeoutError:
                _log.warning("a report of %d octets could not be read in %s", len(octets), self._reading_time)
                report = _UNREADABLE
            except RecursionError as error:
                # anybody can cause one, and its traceback is as long as the stack is deep
                _log.error("a report of %d octets could not be read: RecursionError: %s", len(octets), error)
                report = _UNREADABLE
            except Exception:
                # what a stranger wrote must not make its host try again for days
                _log.exception("a report of %d octets could not be read", len(octets))
                report = _UNREADABLE
        if report.note is not None:
            self._counts.report_rejected("unreadable")
        return report

    def _counted(self, effect: Effect) -> Effect:
        if effect is Effect.UNKNOWN:
            self._counts.report_rejected("delivery")
        elif effect is Effect.REPEATED:
            self._counts.report_rejected("repeated")
        return effect

    def _claim(self, report: Report) -> ReportClaim | None:
        """Return what the message that came back with a complaint proves: by our report field."""
        for field in report.returned.find(REPORT_FIELD):
            try:
                return self._report_tokens.open(field.text)
            except ValueError:
                continue
        return None

    def _by_return_path(self, report: Report) -> str | None:
        """Return the delivery whose return path comes back."""
        for local_part in _paths_back(report):
            try:
                return self._return_paths.prove(local_part)
            except ValueError:
                continue
        return None

    def _by_shared_path(self, report: Report) -> GroupPath | None:
        """Return the return path of a batch that comes back."""
        for local_part in _paths_back(report):
            try:
                return self._return_paths.prove_shared(local_part)
            except ValueError:
                continue
        return None


def _paths_back(report: Report) -> list[str]:
    """Return the local parts that came back as Original-Mail-From or in the message's Return-Path."""
    paths = [field.text for field in report.returned.find("Return-Path")]
    if report.feedback is not None and report.feedback.original_mail_from:
        paths.append(report.feedback.original_mail_from)
    return [path.strip("<> ").rpartition("@")[0] for path in paths]


def _failures(report: Report) -> list[ReportedRecipient]:
    return [each for each in report.recipients if each.action in (Action.FAILED, None)]


def _failure(report: Report) -> ReportedRecipient | None:
    """Return the failure that a report tells of. The token says whose it is: its transaction had one recipient."""
    failed = _failures(report)
    # several only when a list behind the address was expanded: the worst of them is not ours to choose
    return failed[0] if failed else None
