"""The daily round of reports about TLS."""

import random
from collections.abc import Awaitable
from datetime import date, timedelta

import pytest

from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.tls_memory import PoliciesInMemory, TalliesInMemory
from mta.delivery.tls_report import AppliedPolicy, DomainDay, PolicyType, Tallies
from mta.delivery.tls_report_desk import KEPT, SPREAD, Desk, TlsReports
from mta.delivery.tls_report_mail import ReportMail, Submitter
from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox
from tests.fakes.clock import FakeClock

POLICY = AppliedPolicy(PolicyType.NONE, "example.net")
SUBMITTER = Submitter("Example", "example.com", Mailbox("postmaster", "example.com"))


class _Lost(TalliesInMemory):
    async def add(self, days: tuple[DomainDay, ...]) -> None:
        raise StoreUnavailable("gone")


class _House:
    def __init__(self, store: TalliesInMemory | None = None) -> None:
        self.clock = FakeClock()
        self.tallies = Tallies()
        self.store = store or TalliesInMemory()
        self.records: dict[str, tuple[str, ...] | Exception] = {}
        self.sent: list[tuple[ReportMail, tuple[Mailbox, ...]]] = []
        desk = Desk(SUBMITTER, self._submit, self._txt, lambda: f"r{len(self.sent)}")
        self.reports = TlsReports(self.tallies, self.store, desk, self.clock, random.Random(1))

    def _submit(self, mail: ReportMail, to: tuple[Mailbox, ...]) -> Awaitable[None]:
        async def done() -> None:
            self.sent.append((mail, to))

        return done()

    async def _txt(self, name: str) -> tuple[str, ...]:
        answer = self.records.get(name, NoSuchDomain(name))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self, domain: str = "example.net") -> date:
        day = self.clock.now().date()
        self.tallies.success(day, domain, POLICY)
        return day

    async def kept(self) -> list[str]:
        return [day.domain for day in await self.store.before(date.max)]


async def test_a_report_goes_to_who_asks_once_the_day_is_over() -> None:
    house = _House()
    house.records["_smtp._tls.example.net"] = ("v=TLSRPTv1; rua=mailto:tls@example.net,https://example.net/",)
    house.count()
    await house.reports.flush()
    await house.reports.report()
    assert house.sent == []
    house.clock.advance(timedelta(days=1) + SPREAD)
    await house.reports.report()
    await house.reports.report()
    ((mail, to),) = house.sent
    assert to == (Mailbox("tls", "example.net"),)
    assert b"Report Domain: example.net" in mail.header
    assert await house.kept() == []


@pytest.mark.parametrize("answer", [NoSuchDomain("x"), (), ("v=TLSRPTv1; rua=https://example.net/",)])
async def test_what_nobody_wants_by_mail_is_forgotten(answer: tuple[str, ...] | Exception) -> None:
    house = _House()
    house.records["_smtp._tls.example.net"] = answer
    house.count()
    await house.reports.flush()
    house.clock.advance(timedelta(days=1) + SPREAD)
    await house.reports.report()
    assert house.sent == []
    assert await house.kept() == []


async def test_when_dns_is_in_trouble_the_report_waits_for_a_while() -> None:
    house = _House()
    house.records["_smtp._tls.example.net"] = DnsTrouble("SERVFAIL")
    house.count()
    await house.reports.flush()
    house.clock.advance(timedelta(days=1) + SPREAD)
    await house.reports.report()
    assert await house.kept() == ["example.net"]
    house.clock.advance(KEPT)
    await house.reports.report()
    assert await house.kept() == []


async def test_what_cannot_be_stored_is_counted_on() -> None:
    house = _House(_Lost())
    house.count()
    await house.reports.flush()
    assert [day.domain for day in house.tallies.drain()] == ["example.net"]


async def test_days_add_up_over_several_rounds() -> None:
    house = _House()
    for _ in range(2):
        house.count()
        await house.reports.flush()
    (day,) = await house.store.before(date.max)
    assert day.tallies[0].successes == 2


async def test_the_memory_of_policies_is_the_callers_own() -> None:
    assert await PoliciesInMemory().all() == ()
    assert await PoliciesInMemory().get("example.net") is None
