"""What delivery is built of, and the round of its reports: from a connection to a signed mail at who asks for it."""

import asyncio
import email
import email.policy
import gzip
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mta.accounts.account import Account
from mta.assembly import dkim_keys
from mta.cli.init import FREE_PORTS, make
from mta.config.load import load
from mta.config.settings import DkimKey, DomainEntry, Settings
from mta.delivery.dnssec import DnssecProof
from mta.delivery.mta_sts import KeptPolicy, Mode, Policy
from mta.delivery.tls_policy import PolicyWord
from mta.delivery.tls_report_desk import SPREAD
from mta.demo.dns import NameServer
from mta.demo.receiver import Receiver
from mta.demo.verify import verify
from mta.parts import Parts, build
from mta.queue.seams import Host
from mta.way_out import signing_domain
from tests.delivery.world import letter
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

_DELIVERY = """
[delivery]
resolvers = ["{resolver}"]
port = {port}
allow_networks = ["127.0.0.0/8"]
{more}
"""
PATIENCE = 60.0


@asynccontextmanager
async def _built(folder: Path, more: str = "") -> AsyncIterator[tuple[Parts, NameServer, Receiver, FakeClock]]:
    """A worker's parts, which deliver to a receiver; nothing listens, and only the dispatcher works."""
    # what is signed when two days have passed is not of the future for who verifies it
    clock = FakeClock(datetime.now(UTC).replace(microsecond=0) - timedelta(days=2))
    async with NameServer() as names, Receiver() as sink:
        names.add("example.net", "MX", "10 mx.example.net.")
        names.add("mx.example.net", "A", sink.host)
        made = make(folder, "mail.example.com", "example.com", FREE_PORTS, datetime.now(UTC))
        text = _DELIVERY.format(resolver=names.address, port=sink.port, more=more)
        made.config.write_text(made.config.read_text() + text + '[queue]\nmin_free = "0.1%"\n')
        async with build(load(made.config, {}).settings, clock, io.StringIO()) as parts:
            yield parts, names, sink, clock


async def _until_all_is_delivered(parts: Parts) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(total.count for total in (await parts.store.reader.totals()).values()):  # noqa: ASYNC110  the store tells nobody
            await asyncio.sleep(0.02)


async def test_what_connections_came_to_reaches_who_asks_for_it_as_a_signed_report(tmp_path: Path) -> None:
    async with _built(tmp_path, 'dane = "off"') as (parts, names, sink, clock):
        names.add("_smtp._tls.example.net", "TXT", "v=TLSRPTv1; rua=mailto:tls@example.net")
        day = clock.now().date()
        reports = parts.ways.reports
        assert reports is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.dispatcher.run())
            await parts.store.accept(Letters(clock).new(), ())
            parts.dispatcher.wake()
            await sink.wait_for(1, timeout=PATIENCE)
            await _until_all_is_delivered(parts)
            await reports.flush()
            clock.advance(timedelta(days=1) + SPREAD)
            await reports.report()
            parts.dispatcher.wake()
            (_, received) = await sink.wait_for(2, timeout=PATIENCE)
            await _until_all_is_delivered(parts)
            await parts.dispatcher.stop(timedelta(seconds=PATIENCE))
    assert (received.reverse_path, received.recipients) == ("", ("tls@example.net",))
    _assert_signed_by_us(tmp_path, received.content)
    report = _report_in(received.content)
    assert report["organization-name"] == "example.com"
    assert report["date-range"]["start-datetime"] == f"{day}T00:00:00Z"
    (policy,) = report["policies"]
    assert policy["policy"] == {"policy-type": "no-policy-found", "policy-domain": "example.net"}
    # the receiver has no certificate at all
    assert policy["summary"] == {"total-successful-session-count": 0, "total-failure-session-count": 1}
    assert policy["failure-details"][0]["result-type"] == "starttls-not-supported"


def _assert_signed_by_us(folder: Path, content: bytes) -> None:
    keys = dkim_keys(load(folder / "mta.toml", {}).settings)["example.com"]
    published = {key.dns_name: key.dns_record for key in keys}
    found = verify(content, published.get)
    assert [(each.domain, each.valid) for each in found] == [("example.com", True)] * 2


def _report_in(content: bytes) -> dict[str, Any]:
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert parsed["TLS-Report-Domain"] == "example.net"
    assert parsed["TLS-Required"] == "No"
    (packed,) = (part for part in parsed.walk() if part.get_content_type() == "application/tlsrpt+gzip")
    octets = packed.get_payload(decode=True)
    assert isinstance(octets, bytes)
    report: dict[str, Any] = json.loads(gzip.decompress(octets))
    return report


@pytest.mark.parametrize(
    ("more", "has"),
    [
        ("", (True, True, True)),
        ('dane = "off"', (False, True, True)),
        ("mta_sts = false", (True, False, True)),
        ("tls_reports = false", (True, True, False)),
    ],
)
async def test_only_what_is_wanted_is_built(more: str, has: tuple[bool, bool, bool], tmp_path: Path) -> None:
    async with _built(tmp_path, more) as (parts, *_):
        ways = parts.ways
        assert (ways.proof is not None, ways.sts is not None, ways.reports is not None) == has


@pytest.mark.parametrize("may", [True, False])
async def test_an_account_that_may_waives_what_recipients_demand(may: bool, tmp_path: Path) -> None:
    account = f'[[account]]\nname = "shop"\ndomains = ["example.com"]\nmay_waive_tls = {str(may).lower()}\n'
    async with _built(tmp_path, f'dane = "off"\n{account}') as (parts, _, sink, clock):
        policy = Policy(Mode.ENFORCE, ("mx.example.net",), timedelta(days=3))
        kept = KeptPolicy("example.net", "1", policy, clock.now(), clock.now() + timedelta(days=1))
        await parts.store.tls.put_policy(kept.domain, kept.to_json(), kept.expires_at)
        policies, host = parts.ways.policies, Host("mx.example.net", sink.port)
        header = b"TLS-Required: No\r\n"
        for name, waives in (("shop", may), ("", True), ("app", False)):
            asked = await policies.of(host, letter(header=header, account=name))
            assert asked.demand.word == (PolicyWord.TLS_OPTIONAL if waives else PolicyWord.MTA_STS), name
        parts.ways.let_waive([Account("app", frozenset(), may_waive_tls=True)])
        for name, waives in (("shop", False), ("", True), ("app", True)):
            asked = await policies.of(host, letter(header=header, account=name))
            assert asked.demand.word == (PolicyWord.TLS_OPTIONAL if waives else PolicyWord.MTA_STS), name


async def test_dane_stays_off_and_says_so_where_the_resolver_does_not_validate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mta.way_out")
    async with _built(tmp_path, "mta_sts = false") as (parts, _, sink, clock):
        async with asyncio.TaskGroup() as tasks:
            tending = tasks.create_task(parts.ways.tend(reports=False))
            tasks.create_task(parts.dispatcher.run())
            await parts.store.accept(Letters(clock).new(), ())
            parts.dispatcher.wake()
            # it has waited for the proof, and goes on without
            await sink.wait_for(1, timeout=PATIENCE)
            await _until_all_is_delivered(parts)
            await parts.dispatcher.stop(timedelta(seconds=PATIENCE))
            tending.cancel()
        (told,) = (record for record in caplog.records if record.name == "mta.way_out")
    assert told.levelno == logging.WARNING
    assert told.getMessage().startswith("the resolver 127.0.0.1 port ")
    assert ": DANE is off; run a validating resolver " in told.getMessage()


def _domain(name: str, *, signs: bool = True) -> DomainEntry:
    return DomainEntry(name=name, dkim=(DkimKey(selector="s", key=Path("key.pem")),) if signs else ())


@pytest.mark.parametrize(
    ("domains", "signing"),
    [
        ((), "mail.example.com"),
        ((_domain("example.com", signs=False),), "mail.example.com"),
        ((_domain("example.org"), _domain("example.com")), "example.com"),
        ((_domain("example.org"), _domain("mail.example.com")), "mail.example.com"),
        ((_domain("example.org"), _domain("ample.com")), "example.org"),
    ],
)
def test_reports_are_signed_by_the_domain_nearest_to_our_name(domains: tuple[DomainEntry, ...], signing: str) -> None:
    assert signing_domain(Settings(hostname="mail.example.com", domain=domains)) == signing


async def test_a_proof_that_forgets_that_it_was_cancelled_does_not_keep_the_server_from_stopping(
    tmp_path: Path,
) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def forgetful() -> DnssecProof:
        asked.set()
        with suppress(asyncio.CancelledError):
            await answers.wait()
        return DnssecProof(False, "does not validate")

    async with _built(tmp_path, "mta_sts = false") as (parts, *_):
        ways = replace(parts.ways, proof=forgetful)
        tending = asyncio.create_task(ways.tend(reports=False))
        async with asyncio.timeout(30):
            await asked.wait()
            tending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await tending
