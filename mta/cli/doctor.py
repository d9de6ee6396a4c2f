"""`mta doctor`: everything that stops mail from arriving and can be looked at from here.

What is looked for is in `mta.doctor`; what its checks ask of DNS, the store and the server is handed to them here.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import click

from mta import assembly
from mta.accounts.standing import State as StandingState
from mta.certificates import certificate_files
from mta.cli.app import EX_NO, App, command, json_option
from mta.cli.output import Output
from mta.cli.progress import progress
from mta.cli.times import Span
from mta.clock import SystemClock
from mta.config.load import Loaded
from mta.config.settings import Settings
from mta.control.client import Client
from mta.control.protocol import CommandFailed
from mta.delivery.dnssec import DnsAsker, prove, servers_in_use
from mta.delivery.limits import Families
from mta.delivery.resolver import DnsResolver, DnsTrouble, NoSuchDomain
from mta.dkim.keys import SigningKey
from mta.doctor.finding import Check, Finding, Verdict, examine, fail, ok, skipped, warn
from mta.doctor.machine import Guarded, certificate, clock, descriptors, disk, permissions
from mta.doctor.names import NoAnswer
from mta.doctor.outside import block_lists, port_25
from mta.doctor.records import Published, Records
from mta.doctor.store import Waiting, soundness, standstill
from mta.errors import ConfigError, StoreUnavailable
from mta.inspection import RENEW_BEFORE, SOCKET, inspect
from mta.queue.model import State
from mta.storage.integrity import integrity
from mta.storage.overview import Overview
from mta.storage.reading import Reader
from mta.storage.views import WithheldRow
from mta.storage.withheld import withheld

_SMTP = 25
_GREETING = 15.0
_GLANCE = 5.0


@click.command("doctor")
@click.option("--network", is_flag=True, help="Ask others, too: is port 25 open to the world, is an address listed?")
@click.option("--store-limit", type=Span(), default="2m", show_default=True, help="For reading all of the store.")
@json_option
@command
def doctor(app: App, network: bool, store_limit: timedelta, as_json: bool) -> None:
    """Look for all that stops mail from arriving.

    The configuration and what it points to, the store, the disk, the clock, certificates, what waits and why, and the
    records that receivers look up. Exit 1 when something must be mended.
    """
    loaded = app.loaded()
    patient = Patient(loaded, Client(loaded.settings.data_dir / SOCKET, _GLANCE), store_limit)
    checks = patient.checks(network=network)

    async def run() -> list[Finding]:
        with progress("looking", len(checks)) as tell:
            return await examine(checks, tell)

    findings = asyncio.run(run())
    _tell(app.output(json=as_json), findings)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise SystemExit(EX_NO)


class Patient:
    """One server, and what is looked at of it."""

    def __init__(self, loaded: Loaded, client: Client, store_limit: timedelta) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._client = client
        self._store_limit = store_limit
        self._clock = SystemClock()
        self._pid = _running(client)
        self._names = ResolverNames(DnsResolver(assembly.resolver(self._settings), self._clock))

    def checks(self, *, network: bool) -> list[Check]:
        """Return the checks, those of the network only if they are wanted."""
        records = Records(_published(self._settings), self._names, local_addresses)
        long = self._store_limit + timedelta(seconds=20)
        asked = [
            Check("configuration", self._configuration),
            Check("server", self._server),
            Check("permissions", self._permissions),
            Check("store", self._store, long),
            Check("queue", self._queue),
            Check("disk", self._disk),
            Check("descriptors", self._descriptors),
            Check("clock", self._clock_is_right),
            Check("certificate", self._certificate),
            Check("resolver", records.resolver),
            Check("dnssec", self._dnssec, timedelta(seconds=60)),
            Check("hostname", records.hostname),
            Check("ptr", records.reverse),
            Check("return path", records.return_paths, timedelta(seconds=60)),
            Check("spf", records.spf, timedelta(seconds=60)),
            Check("dkim", records.dkim, timedelta(seconds=60)),
            Check("dmarc", records.dmarc, timedelta(seconds=60)),
        ]
        if network:
            asked.append(Check("port 25", lambda: port_25(self._names, greeting), timedelta(seconds=60)))
            asked.append(Check("lists", partial(self._lists, records), timedelta(seconds=60)))
        return asked

    async def _configuration(self) -> Sequence[Finding]:
        report = await inspect(self._settings, self._clock)
        found = [fail(each.reason, _place(each.file, each.key), each.remedy) for each in report.errors]
        warnings = (*self._loaded.warnings, *report.warnings)
        found += [warn(each.reason, _place(each.file, each.key), each.remedy) for each in warnings]
        return found or [ok("can be used", str(self._loaded.path))]

    async def _server(self) -> Sequence[Finding]:
        if self._pid is None:
            return [warn("no server answers at the control socket", "", "start it: mta serve")]
        return [ok(f"runs, process {self._pid}")]

    async def _permissions(self) -> Sequence[Finding]:
        settings = self._settings
        guarded = [
            Guarded(settings.data_dir, is_secret=True),
            Guarded(settings.store_path, is_secret=True),
            Guarded(settings.data_dir / SOCKET, is_secret=True),
            Guarded(self._loaded.path, is_secret=False),
            Guarded(certificate_files(settings)[1], is_secret=True),
            *(Guarded(entry.key, is_secret=True) for domain in settings.domain for entry in domain.dkim or ()),
        ]
        if settings.secrets.keyring.file is not None:
            guarded.append(Guarded(Path(settings.secrets.keyring.file), is_secret=True))
        return permissions(guarded)

    async def _store(self) -> Sequence[Finding]:
        path = self._settings.store_path
        if not path.exists():
            return [skipped("there is none yet; mta serve makes it", str(path))]
        return await asyncio.to_thread(soundness, str(path), lambda: integrity(str(path), self._store_limit))

    async def _queue(self) -> Sequence[Finding]:
        if not self._settings.store_path.exists():
            return [skipped("there is no store yet")]
        try:
            async with Reader.open(str(self._settings.store_path), self._clock) as reader:
                waiting = await _waiting(reader)
        except StoreUnavailable as trouble:
            return [fail(str(trouble), "", "see the finding on the store, and the log")]
        return standstill(waiting, self._clock.now(), is_running=self._pid is not None)

    async def _disk(self) -> Sequence[Finding]:
        folder = self._settings.store_path.parent
        return disk(folder if folder.exists() else Path("/"), self._settings.queue.min_free)

    async def _descriptors(self) -> Sequence[Finding]:
        settings = self._settings
        # inbound has no ceiling of its own in the settings: what comes back is as much as goes out at most
        return descriptors(settings.submission.max_connections + 2 * settings.delivery.max_connections, self._pid)

    async def _clock_is_right(self) -> Sequence[Finding]:
        return clock(self._clock.now(), await self._newest_event())

    async def _newest_event(self) -> datetime | None:
        if not self._settings.store_path.exists():
            return None
        try:
            async with Reader.open(str(self._settings.store_path), self._clock) as reader:
                return await Overview(reader, self._clock).newest_event()
        except StoreUnavailable:
            return None  # another check tells

    async def _certificate(self) -> Sequence[Finding]:
        path, _ = certificate_files(self._settings)
        return certificate(path, self._settings.hostname, self._clock.now(), RENEW_BEFORE)

    async def _dnssec(self) -> Sequence[Finding]:
        proof = await prove(servers_in_use(assembly.resolver(self._settings)), DnsAsker(timedelta(seconds=5)))
        if proof.validates:
            return [ok(proof.reason)]
        return [warn(proof.reason, "", "mail goes without it; DANE protects it from being read on the way")]

    async def _lists(self, records: Records) -> Sequence[Finding]:
        try:
            addresses = await records.public_addresses()
        except NoAnswer as why:
            return [skipped(f"DNS does not tell our own address: {why}", self._settings.hostname)]
        return await block_lists(self._names, addresses)


class ResolverNames:
    """DNS as the checks want it, by the resolver that delivery uses."""

    def __init__(self, resolver: DnsResolver) -> None:
        self._resolver = resolver

    async def txt(self, name: str) -> tuple[str, ...]:
        """Return TXT records. Raises NoAnswer."""
        try:
            return await self._resolver.txt(name)
        except NoSuchDomain:
            return ()
        except DnsTrouble as why:
            raise NoAnswer(str(why)) from None

    async def mx(self, domain: str) -> tuple[str, ...]:
        """Return the hosts of the MX records, the preferred one first. Raises NoAnswer."""
        try:
            return tuple(record.host for record in (await self._resolver.mx(domain)).records)
        except NoSuchDomain:
            return ()
        except DnsTrouble as why:
            raise NoAnswer(str(why)) from None

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return addresses of both families. Raises NoAnswer."""
        try:
            return await self._resolver.addresses(host, Families.DUAL)
        except NoSuchDomain:
            return ()
        except DnsTrouble as why:
            raise NoAnswer(str(why)) from None

    async def names_of(self, address: str) -> tuple[str, ...]:
        """Return the names of an address, by its PTR records. Raises NoAnswer."""
        try:
            return await self._resolver.ptr(address)
        except NoSuchDomain:
            return ()
        except DnsTrouble as why:
            raise NoAnswer(str(why)) from None


def local_addresses() -> tuple[str, ...]:
    """Return the addresses that packets to the world leave from. Asks the kernel; nothing is sent."""
    found = []
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((anywhere, _SMTP))
            except OSError:
                continue  # no way there
            found.append(str(probe.getsockname()[0]))
    return tuple(found)


async def greeting(host: str) -> str:
    """Return how a host greets at port 25. Raises OSError."""
    async with asyncio.timeout(_GREETING):
        reader, writer = await asyncio.open_connection(host, _SMTP)
        try:
            line = await reader.readline()
            writer.write(b"QUIT\r\n")
            await writer.drain()
        except ValueError:  # a line without end
            return "something that is no greeting"
        finally:
            writer.close()
    return line.decode("utf-8", "replace").strip()[:200]


async def _waiting(reader: Reader) -> Waiting:
    lanes, totals = await reader.waiting_lanes(), await reader.totals()
    return Waiting(
        pauses=await reader.pauses(),
        rests=await reader.rests(),
        suspended=[
            one.account + (f"/{one.stream}" if one.stream else "")
            for one in await reader.standings()
            if one.state is StandingState.SUSPENDED
        ],
        held=totals[State.HELD].count if State.HELD in totals else 0,
        due_since=min((one.due_at for one in lanes), default=None),
        doubted=_by_site(await withheld(reader)),
    )


def _by_site(rows: Sequence[WithheldRow]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.site] += row.count
    return counts


def _published(settings: Settings) -> Published:
    usual = settings.inbound.return_path_domain or settings.hostname
    return Published(
        hostname=settings.hostname,
        domains=tuple(domain.name for domain in settings.domain),
        return_paths=tuple(dict.fromkeys([usual, *(domain.return_path or usual for domain in settings.domain)])),
        keys=_keys(settings),
        sources=tuple(str(source.address) for source in settings.source),
        inbound=tuple(listen.port for listen in settings.inbound.listen),
    )


def _keys(settings: Settings) -> tuple[SigningKey, ...]:
    try:
        return tuple(key for keys in assembly.dkim_keys(settings).values() for key in keys)
    except ConfigError:
        return ()  # the check of the configuration tells


def _running(client: Client) -> int | None:
    """Return the process of the server, None when none answers."""
    try:
        return int(client.one("status")["pid"])
    except (CommandFailed, KeyError, ValueError):
        return None


def _place(file: str, key: str) -> str:
    return ": ".join(filter(None, (file, key)))


_ORDER = (Verdict.FAIL, Verdict.WARN, Verdict.SKIPPED, Verdict.OK)


def _tell(output: Output, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if output.is_json:
            output.record(
                {
                    "check": finding.check,
                    "verdict": finding.verdict.value,
                    "what": finding.what,
                    "where": finding.where,
                    "remedy": finding.remedy,
                }
            )
        where = f"{finding.where}: " if finding.where else ""
        output.line(f"{finding.verdict.value:<8} {finding.check:<13} {where}{finding.what}")
        if finding.remedy and finding.verdict is not Verdict.OK:
            output.line(f"{'':<22} → {finding.remedy}")
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in _ORDER}
    output.line()
    output.line(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
