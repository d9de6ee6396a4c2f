"""What recipients' domains demand of TLS: DANE with real name servers, MTA-STS with policies over real HTTPS."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.demo.receiver import Receiver
from tests.delivery.pki import DAY, Identity, issue
from tests.scenarios.house import SENDER, House, message, open_house
from tests.scenarios.nameservers import Names, open_nameservers
from tests.scenarios.programs import need_root
from tests.scenarios.receivers import FAR, Told, aim, attempts, by_label, open_hosts, server_context
from tests.scenarios.web import get

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
    "bogustlsa": ("deferred", "dane", False, False),
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
                await _assert_why_tells(
                    house,
                    "a@right.example",
                    "TLSv1.3 (dane, verified: TLSA 3 1 1 matches), at dot",
                    " STARTTLS; used TLS_AES_",
                )
                shaken = b'mta_tls_sessions_total{result="ok",role="delivery",version="TLSv1.3"}'
                assert shaken in (await get(house, "/metrics")).content
                await _assert_why_tells(house, "a@none.example", "(opportunistic)", "was not looked at")
                await _assert_why_tells(house, "a@wrong.example", "(dane: the certificate matches no TLSA record)")
                await _assert_why_tells(house, "a@stripped.example", "no TLS (by dane)", ", and no STARTTLS")
                await _assert_why_tells(house, "a@bogustlsa.example", ", skipped by dane, ")


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
    if "mx.bogus.example" in hosts:
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


# what becomes of a message that requires TLS, and what is said of it
REQUIRING = {
    "right": ("bounced", "550 5.7.30", "does not offer REQUIRETLS"),
    "wrong": ("bounced", "550 5.7.10", "the certificate matches no TLSA record"),
    "stripped": ("bounced", "550 5.7.10", "does not offer TLS"),
    "none": ("bounced", "550 5.7.10", "self-signed certificate"),
    "unsigned": ("bounced", "550 5.7.10", "neither DNSSEC nor MTA-STS proves that mx.unsigned.example"),
    "bogus": ("deferred", "451 4.4.3", "SERVFAIL"),
    "bogustlsa": ("deferred", "451 4.7.5", "TLSA records cannot be looked up"),
    "closed": ("deferred", "451 4.4.1", "refused"),
}


@pytest.mark.peer("unbound", "nsd")
async def test_a_message_that_requires_tls_comes_back_where_no_host_proves_itself(tmp_path: Path) -> None:
    """And at once, but for where that is not certain yet (RFC 8689 §4.2.1)."""
    identities = {
        name: issue(name, NOW, None if name == "none" else CA, names=(f"mx.{name}.example",)) for name in REQUIRING
    }
    contexts = {
        f"mx.{name}.example": None if name == "stripped" else server_context(tmp_path, identity)
        for name, identity in identities.items()
        if name != "closed"
    }
    async with open_hosts(contexts) as hosts:
        names = _names(hosts, identities)
        names.add("closed.example", "MX", "10 mx.closed.example.")
        names.add("mx.closed.example", "A", "127.0.0.250")
        async with open_nameservers(names) as resolver, open_house(tmp_path / "house", retry=FAR, start=False) as house:
            aim(house, hosts, resolver)
            async with house.server:
                await asyncio.to_thread(_submit_requiring_tls, house, [f"a@{name}.example" for name in REQUIRING])
                told = by_label(await attempts(house, len(REQUIRING)))
                for name, (type, codes, why) in REQUIRING.items():
                    assert (told[name].type, told[name].said[: len(codes)]) == (type, codes), (name, told[name])
                    assert why in told[name].said, (name, told[name])
                _assert_no_mail_was_offered(hosts, *_domains_of(contexts))
                await _assert_why_tells(house, "a@unsigned.example", ", skipped by requiretls, ", ": 550 5.7.10 ")


def _domains_of(names: Iterable[str]) -> list[str]:
    return [name.split(".")[1] for name in names]


def _submit_requiring_tls(house: House, recipients: list[str]) -> None:
    with house.connect() as client:
        client.ehlo()
        client.mail(SENDER, ["REQUIRETLS"])
        assert [client.rcpt(one)[0] for one in recipients] == [250] * len(recipients)
        assert client.data(message(tuple(recipients[:1])))[0] == 250


@pytest.mark.peer("unbound", "nsd")
async def test_who_may_sends_mail_for_which_delivery_matters_more_than_the_recipients_policy(tmp_path: Path) -> None:
    """`TLS-Required: No` is obeyed for accounts that may say so, from the reload on that lets them."""
    identities = {name: issue(name, NOW, CA, names=(f"mx.{name}.example",)) for name in ("wrong", "stripped")}
    contexts = {
        "mx.wrong.example": server_context(tmp_path, identities["wrong"]),
        "mx.stripped.example": None,
    }
    async with open_hosts(contexts) as hosts:
        names = _names(hosts, identities)
        async with open_nameservers(names) as resolver, open_house(tmp_path / "house", retry=FAR, start=False) as house:
            aim(house, hosts, resolver)
            async with house.server:
                assert await _ways_of_waived(house, "a") == [
                    ("deferred", "dane", False, False),
                    ("deferred", "dane", True, False),
                ]
                _assert_no_mail_was_offered(hosts, "wrong", "stripped")
                config = house.folder / "mta.toml"
                config.write_text(config.read_text().replace("[[account]]\n", "[[account]]\nmay_waive_tls = true\n", 1))
                code, output = await house.server.command("reload")
                assert code == 0, output
                assert await _ways_of_waived(house, "b") == [
                    ("delivered", "tls-required-no", False, False),
                    ("delivered", "tls-required-no", True, False),
                ]
                # without the field, the policy holds for who may waive it, too
                await house.submit("c@wrong.example")
                assert (await attempts(house, 5))["c@wrong.example"].way == ("deferred", "dane", True, False)
                await _assert_why_tells(house, "b@stripped.example", "no TLS (by tls-required-no), at dot")


async def _ways_of_waived(house: House, local_part: str) -> list[tuple[str, str, bool, bool]]:
    """Submit with the field that waives; return what became of it at the host without TLS, and at the other one."""
    recipients = tuple(f"{local_part}@{name}.example" for name in ("stripped", "wrong"))
    await house.submit(*recipients, content=b"TLS-Required: No\r\n" + message(recipients[:1]))
    told = await attempts(house, len(house.rows("SELECT DISTINCT recipient FROM deliveries")))
    return [told[recipient].way for recipient in recipients]


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
    "othermx": (ENFORCE, "good", ("deferred", "mta-sts", False, False)),
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
