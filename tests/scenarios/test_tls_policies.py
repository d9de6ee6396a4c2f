"""What recipients' domains demand of TLS: DANE with real name servers, MTA-STS with policies over real HTTPS."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.demo.receiver import Receiver
from tests.delivery.pki import DAY, Identity, issue
from tests.scenarios.house import House, open_house
from tests.scenarios.nameservers import Names, open_nameservers
from tests.scenarios.programs import need_root
from tests.scenarios.receivers import FAR, Told, aim, attempts, by_label, open_hosts, server_context

NOW = datetime.now(UTC)
CA = issue("Test CA", NOW, ca=True)


def _host(domain: str) -> str:
    return f"mx.{domain}"


async def _send_to(house: House, domains: Mapping[str, object]) -> dict[str, Told]:
    await house.submit(*(f"a@{domain}" for domain in domains))
    return by_label(await attempts(house, len(domains)))


def _domains(hosts: Mapping[str, Receiver]) -> dict[str, Receiver]:
    return {name.removeprefix("mx."): host for name, host in hosts.items()}


def _assert_no_mail_was_offered(hosts: Mapping[str, Receiver], *domains: str) -> None:
    """Not even an envelope: neither over TLS that proves nothing, nor in plaintext."""
    for domain in domains:
        host = hosts[_host(f"{domain}.example")]
        assert [command for command in host.commands if command[:4].upper() in ("MAIL", "RCPT")] == [], domain


# what the name servers say of a domain, and what follows
DANE = {
    "right": ("delivered", "dane", True, True),
    "authority": ("delivered", "dane", True, True),
    "wrong": ("deferred", "dane", True, False),
    "stripped": ("deferred", "dane", False, False),
    "bogus": ("deferred", "", False, False),
    "bogustlsa": ("deferred", "", False, False),
    "unsigned": ("delivered", "opportunistic", True, False),
    "none": ("delivered", "opportunistic", True, False),
}


@pytest.mark.peer("unbound", "nsd")
async def test_dane_decides_where_the_name_server_proves_it(tmp_path: Path) -> None:
    identities = {name: issue(name, NOW, CA, names=(f"mx.{name}.example",)) for name in DANE}
    contexts = {
        f"mx.{name}.example": None if name == "stripped" else server_context(tmp_path, identity, CA)
        for name, identity in identities.items()
    }
    async with open_hosts(contexts) as hosts:
        names = _names(hosts, identities)
        async with open_nameservers(names) as resolver, open_house(tmp_path / "house", retry=FAR, start=False) as house:
            aim(house, hosts, resolver)
            async with house.server:
                told = await _send_to(house, _domains(hosts))
                assert {name: each.way for name, each in told.items()} == DANE
                assert house.logged("DANE is on") == 1
                assert told["right"].proof == "TLSA 3 1 1 matches"
                assert told["authority"].proof == "an authority of a TLSA record vouches for mx.authority.example"
                assert "STARTTLS" in told["right"].offered
                assert told["wrong"].stages == ("starttls",)
                assert told["stripped"].said.startswith("451 4.7.")
                assert "SERVFAIL" in told["bogus"].said
                assert "TLSA records cannot be looked up" in told["bogustlsa"].said
                _assert_no_mail_was_offered(hosts, "wrong", "stripped", "bogus", "bogustlsa")
                await _assert_why_tells(house, "a@right.example", "TLSv1.3 (dane, verified: ")


def _names(hosts: Mapping[str, Receiver], identities: Mapping[str, Identity]) -> Names:
    names = Names()
    names.leave_unsigned("unsigned.example")
    for domain, host in _domains(hosts).items():
        names.add(domain, "MX", f"10 {_host(domain)}.")
        names.add(_host(domain), "A", host.host)
    wrong = issue("another", NOW).tlsa(3, 1)
    of_its_own = {name: identity.tlsa(3, 1) for name, identity in identities.items()}
    published = of_its_own | {"authority": CA.tlsa(2, 0), "wrong": wrong, "unsigned": wrong}
    port = next(iter(hosts.values())).port
    for name, record in published.items():
        if name != "none":
            value = f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"
            names.add(f"_{port}._tcp.mx.{name}.example", "TLSA", value)
    names.spoil("bogus.example", "MX")
    names.spoil(f"_{port}._tcp.mx.bogustlsa.example", "TLSA")
    # what a resolver that does not validate would answer
    names.add("dnssec-failed.org", "A", "127.0.0.1")
    names.spoil("dnssec-failed.org", "A")
    return names


async def _assert_why_tells(house: House, recipient: str, *parts: str) -> None:
    code, told = await house.server.command("why", recipient)
    assert code == 0, told
    for part in parts:
        assert part in told, told


async def test_a_resolver_that_claims_to_validate_and_does_not_is_not_believed(tmp_path: Path) -> None:
    """It sets AD on everything, as a forger on the way would; the record would forbid this host."""
    context = server_context(tmp_path, issue("mx", NOW, names=("mx.forged.example",)))
    async with (
        open_hosts({"mx.forged.example": context}) as hosts,
        open_house(tmp_path / "house", start=False) as house,
    ):
        host = hosts["mx.forged.example"]
        house.names.authenticated = True
        house.names.add(".", "SOA", "ns.nic.example. hostmaster.nic.example. 1 3600 600 86400 60")
        house.names.add("dnssec-failed.org", "A", "192.0.2.1")
        house.names.add("forged.example", "MX", "10 mx.forged.example.")
        house.names.add("mx.forged.example", "A", host.host)
        house.names.add(f"_{host.port}._tcp.mx.forged.example", "TLSA", f"3 1 1 {'ab' * 32}")
        aim(house, hosts)
        async with house.server:
            told = await _send_to(house, _domains(hosts))
            assert told["forged"].way == ("delivered", "opportunistic", True, False)
            assert house.logged(": DANE is off; run a validating resolver ") == 1
            assert house.logged("answers for dnssec-failed.org., whose signatures are broken on purpose") == 1


# what a domain publishes, the certificate of its host, and what follows
ENFORCE, TESTING, NONE = "enforce", "testing", "none"
MTA_STS = {
    "good": (ENFORCE, "good", ("delivered", "mta-sts", True, True)),
    "othermx": (ENFORCE, "good", ("deferred", "", False, False)),
    "selfsigned": (ENFORCE, "self-signed", ("deferred", "mta-sts", False, False)),
    "expired": (ENFORCE, "expired", ("deferred", "mta-sts", False, False)),
    "misnamed": (ENFORCE, "misnamed", ("deferred", "mta-sts", False, False)),
    "stripped": (ENFORCE, "", ("deferred", "mta-sts", False, False)),
    "testing": (TESTING, "self-signed", ("delivered", "mta-sts-testing", True, False)),
    "none": (NONE, "self-signed", ("delivered", "opportunistic", True, False)),
    # its policy would forbid the host, but it is not its own: the policy host's certificate is bad
    "impostor": (ENFORCE, "self-signed", ("delivered", "opportunistic", True, False)),
}
DEFERRED = tuple(name for name, (_, _, (what, *_)) in MTA_STS.items() if what == "deferred")


async def test_mta_sts_is_fetched_over_https_and_outlives_the_host_that_published_it(tmp_path: Path) -> None:
    need_root("policies of MTA-STS are fetched from port 443")
    contexts = {f"mx.{name}.example": _context(tmp_path, name, kind) for name, (_, kind, _) in MTA_STS.items()}
    anchors = CA.write(tmp_path / "anchors.pem")
    async with open_hosts(contexts) as hosts, AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(tmp_path / "house", retry=FAR, start=False))
        house.config.write_text(
            house.config.read_text().replace("[delivery]\n", f'[delivery]\nca_file = "{anchors}"\n', 1)
        )
        for domain, host in _domains(hosts).items():
            house.names.add(domain, "MX", f"10 {_host(domain)}.")
            house.names.add(_host(domain), "A", host.host)
        aim(house, hosts)
        async with _published(tmp_path, house), house.server:
            told = await _send_to(house, _domains(hosts))
            assert {name: each.way for name, each in told.items()} == {
                name: expected for name, (_, _, expected) in MTA_STS.items()
            }
            assert "policy does not name mx.othermx.example" in told["othermx"].said
            assert told["testing"].stages == ("starttls", "dot")
            _assert_no_mail_was_offered(hosts, *DEFERRED)
            await _assert_why_tells(
                house, "a@good.example", "TLSv1.3 (mta-sts, verified: certificate for mx.good.example)"
            )
        _assert_reports_will_tell(house)
        # nobody is asked for policies any more: what was learnt still holds
        async with house.server:
            await house.submit("b@selfsigned.example")
            await attempts(house, len(MTA_STS) + 1)
            _assert_no_mail_was_offered(hosts, "selfsigned")


def _assert_reports_will_tell(house: House) -> None:
    """What was counted is in the store when the server has stopped."""
    counted = dict(house.rows("SELECT domain, data FROM tls_tallies"))
    for name, failure in (
        ("testing", "certificate-not-trusted"),
        ("selfsigned", "certificate-not-trusted"),
        ("expired", "certificate-expired"),
        ("misnamed", "certificate-host-mismatch"),
        ("stripped", "starttls-not-supported"),
        ("othermx", "validation-failure"),
        ("impostor", "sts-webpki-invalid"),
    ):
        assert f'"{failure}"' in counted[f"{name}.example"], counted
    assert "good.example" in counted


def _context(folder: Path, name: str, kind: str) -> ssl.SSLContext | None:
    own = (f"mx.{name}.example",)
    match kind:
        case "good":
            return server_context(folder, issue(name, NOW, CA, names=own), CA)
        case "self-signed":
            return server_context(folder, issue(name, NOW, names=own))
        case "expired":
            return server_context(folder, issue(name, NOW, CA, names=own, starts=-9 * DAY, lasts=DAY), CA)
        case "misnamed":
            return server_context(folder, issue(name, NOW, CA, names=("mx.another.example",)), CA)
        case _:
            return None


@asynccontextmanager
async def _published(folder: Path, house: House) -> AsyncIterator[None]:
    """Publish all policies: one web server has a good certificate, another signed its own."""
    policy_hosts = tuple(f"mta-sts.{name}.example" for name in MTA_STS)
    good = server_context(folder, issue("policies", NOW, CA, names=policy_hosts), CA)
    bad = server_context(folder, issue("policies", NOW, names=policy_hosts))
    net = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250) + 2}"
    async with AsyncExitStack() as stack:
        for number, context in ((1, good), (2, bad)):
            server = await asyncio.start_server(_answer, f"{net}.{number}", 443, ssl=context)
            await stack.enter_async_context(server)
        for name in MTA_STS:
            house.names.add(f"_mta-sts.{name}.example", "TXT", "v=STSv1; id=1;")
            house.names.add(f"mta-sts.{name}.example", "A", f"{net}.{2 if name == 'impostor' else 1}")
        yield


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    name = next(line.split()[1] for line in request.splitlines() if line.lower().startswith("host:"))
    label = name.split(".")[1]
    assert request.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
    mode = MTA_STS[label][0]
    mx = "mx.another.example" if label in ("othermx", "impostor") else f"mx.{label}.example"
    lines = ("version: STSv1", f"mode: {mode}", f"mx: {mx}", "max_age: 86400")
    body = "".join(f"{line}\r\n" for line in lines).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
