"""Real name servers: NSD with a signed root of our own, and unbound before it, which validates by that root's key.

All names of a scenario stand in the root zone itself, but for those of zones that are left unsigned.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.asyncquery
import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.scenarios.programs import PATIENCE, free_port, started

_SOA = "SOA ns.nic.example. hostmaster.nic.example. 1 3600 600 86400 60"
_HEAD = f"$TTL 60\n{{origin}} {_SOA}\n{{origin}} NS ns.nic.example.\n"
_NSD = """\
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  pidfile: ""
  database: ""
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
"""
_NSD_ZONE = 'zone:\n  name: "{name}"\n  zonefile: "{file}"\n'
_UNBOUND = """\
server:
  interface: 127.0.0.1@{port}
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-ip6: no
  do-not-query-localhost: no
  num-threads: 1
  trust-anchor: ". DS {anchor}"
remote-control:
  control-enable: no
"""
_STUB = 'stub-zone:\n  name: "{name}"\n  stub-addr: 127.0.0.1@{port}\n'


@dataclass
class Names:
    """What the name servers will say."""

    records: list[str] = field(default_factory=list)
    spoilt: set[tuple[str, str]] = field(default_factory=set)
    unsigned: dict[str, list[str]] = field(default_factory=dict)
    """By name of the zone."""

    def add(self, name: str, type: str, value: str) -> None:
        """Add a record; every name is absolute. In an unsigned zone, if its name ends in that zone's."""
        zone = next((zone for zone in self.unsigned if f".{name}".endswith(f".{zone}")), None)
        (self.records if zone is None else self.unsigned[zone]).append(f"{name}. {type} {value}")

    def leave_unsigned(self, zone: str) -> None:
        """Delegate a zone without DS. To be said before its names are added."""
        self.unsigned[zone] = []
        self.records.append(f"{zone}. NS ns.nic.example.")

    def spoil(self, name: str, type: str) -> None:
        """Break the signatures of a record that was or will be added."""
        self.spoilt.add((name, type))

    def write(self, folder: Path) -> str:
        """Write the zones, and return the root's trust anchor."""
        for zone, records in self.unsigned.items():
            (folder / f"{zone}.zone").write_text(
                _HEAD.format(origin=f"{zone}.") + "".join(f"{one}\n" for one in records)
            )
        text = _HEAD.format(origin=".") + "ns.nic.example. A 127.0.0.1\n" + "".join(f"{one}\n" for one in self.records)
        root = dns.zone.from_text(text, origin=".", relativize=False)
        key = ec.generate_private_key(ec.SECP256R1())
        public = dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", flags=257)
        now = datetime.now(UTC)
        dns.dnssec.sign_zone(
            root, keys=[(key, public)], inception=now - timedelta(hours=1), expiration=now + timedelta(days=1)
        )
        for name, type in self.spoilt:
            rdataset = root.find_rdataset(f"{name}.", "RRSIG", covers=type)
            (signature,) = rdataset
            rdataset.remove(signature)  # type: ignore[no-untyped-call]  # dnspython's sets have no types
            rdataset.add(signature.replace(signature=bytes(len(signature.signature))))
        root.to_file(str(folder / "root.zone"), relativize=False)
        return dns.dnssec.make_ds(".", public, "SHA256").to_text()


@asynccontextmanager
async def open_nameservers(names: Names) -> AsyncIterator[str]:
    """Start both; yield `host:port` of the one that validates. Its answers for the root carry AD by then."""
    with tempfile.TemporaryDirectory(prefix="names-") as place:
        folder = Path(place)
        anchor = names.write(folder)
        inner, outer = free_port(), free_port()
        zones = [(".", "root.zone"), *((zone, f"{zone}.zone") for zone in names.unsigned)]
        served = "".join(_NSD_ZONE.format(name=name, file=file) for name, file in zones)
        (folder / "nsd.conf").write_text(_NSD.format(folder=folder, port=inner) + served)
        stubs = "".join(_STUB.format(name=name, port=inner) for name, _ in zones)
        (folder / "unbound.conf").write_text(_UNBOUND.format(folder=folder, port=outer, anchor=anchor) + stubs)
        async with (
            started(["nsd", "-d", "-c", folder / "nsd.conf"], folder / "nsd.log"),
            started(["unbound", "-d", "-p", "-c", folder / "unbound.conf"], folder / "unbound.log"),
        ):
            logs = [folder / "nsd.log", folder / "unbound.log"]
            await _validates(outer, logs)
            yield f"127.0.0.1:{outer}"


async def _validates(port: int, logs: Sequence[Path]) -> None:
    query = dns.message.make_query(".", dns.rdatatype.SOA, use_edns=0)
    query.flags |= dns.flags.AD
    seen = "nothing"
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    answer = await dns.asyncquery.udp(query, "127.0.0.1", timeout=2, port=port)
                    if answer.flags & dns.flags.AD:
                        return
                    seen = answer.to_text()
                except (dns.exception.DNSException, OSError) as error:
                    seen = repr(error)
                await asyncio.sleep(0.05)
    except TimeoutError:
        told = "\n".join(log.read_text("utf-8", "replace") for log in logs)
        raise AssertionError(f"the name servers do not validate: {seen}\n{told}") from None
