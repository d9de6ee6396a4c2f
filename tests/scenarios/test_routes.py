"""Mail that goes where the operator says: a smarthost with a login, relays by domain and account, fall-back, LMTP."""

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from mta.cli.init import ACCOUNT
from mta.demo.receiver import Receiver
from mta.mail.header import split
from tests.scenarios.house import SENDER, House, message, open_house
from tests.scenarios.mail_servers import open_dovecot
from tests.scenarios.receivers import attempts

SMARTHOST = "mail.example.com"


@asynccontextmanager
async def _smarthost(folder: Path) -> AsyncIterator[House]:
    """Another server, whose account may also send from where bounces to us come back."""
    async with open_house(folder, start=False) as house:
        config = house.folder / "mta.toml"
        text = config.read_text().replace(
            'domains = ["example.com"]', 'domains = ["example.com", "bounces.example.com"]'
        )
        config.write_text(f'{text}\n[[domain]]\nname = "bounces.example.com"\ndkim = []\n')
        async with house.server:
            yield house


@asynccontextmanager
async def _sender(folder: Path, smarthost: House, routes: str) -> AsyncIterator[House]:
    """A server with routes, in which {submission} and {submission_tls} are the smarthost's listeners."""
    async with open_house(folder, start=False) as house:
        house.names.add(SMARTHOST, "A", "127.0.0.1")
        for listener in ("submission", "submission_tls"):
            scheme = "smtps" if listener.endswith("tls") else "smtp"
            _, port = smarthost.server.address(listener)
            url = f"{scheme}://{ACCOUNT}:{quote(smarthost.password, safe='')}@{SMARTHOST}:{port}"
            secret = house.folder / listener
            secret.write_text(url)
            secret.chmod(0o600)
            routes = routes.replace(f"{{{listener}}}", f'{{ file = "{secret}" }}')
        anchors = f'ca_file = "{smarthost.folder / "tls" / "cert.pem"}"\n'
        house.config.write_text(house.config.read_text().replace("[log]", f"{anchors}[log]", 1) + routes)
        async with house.server:
            yield house


async def test_two_lines_send_all_mail_through_a_smarthost(tmp_path: Path) -> None:
    two_lines = '\n[[route]]\ndomain = "*"\nrelay = {submission}\n'
    async with (
        _smarthost(tmp_path / "smarthost") as smarthost,
        _sender(tmp_path / "house", smarthost, two_lines) as house,
    ):
        await house.submit("a@example.net", "a@example.org")
        told = await attempts(house, 2)
        for each in told.values():
            assert each.way == ("delivered", "verify", True, True)
            assert each.proof == f"certificate for {SMARTHOST}"
            assert {"AUTH", "CHUNKING", "PIPELINING"} <= set(each.offered)
        assert house.sink.messages == []
        received = await smarthost.sink.wait_for(2, timeout=30)
        assert sorted(one.recipients[0] for one in received) == ["a@example.net", "a@example.org"]


async def test_a_route_may_be_for_a_domain_or_an_account(tmp_path: Path) -> None:
    async with Receiver(hostname="relay.example.com") as relay, _smarthost(tmp_path / "smarthost") as smarthost:
        routes = (
            f'\n[[route]]\ndomain = "*"\naccount = "shop"\nrelay = "smtp://127.0.0.1:{relay.port}"\n'
            '\n[[route]]\ndomain = "example.org"\nrelay = {submission_tls}\n'
        )
        async with _sender(tmp_path / "house", smarthost, routes) as house:
            await _add_account(house, "shop")
            await house.submit("a@example.org", "a@example.net")
            assert (await attempts(house, 2))["a@example.org"].way == ("delivered", "verify", True, True)
            await house.submit("b@example.org", "b@example.net", login="shop")
            assert (await attempts(house, 4))["b@example.org"].way == ("delivered", "opportunistic", False, False)
            await smarthost.sink.wait_for(1, timeout=30)
            assert smarthost.sink.recipients == [["a@example.org"]]
            assert house.sink.recipients == [["a@example.net"]]
            assert sorted(relay.recipients) == [["b@example.net"], ["b@example.org"]]


async def _add_account(house: House, name: str) -> None:
    """Add an account with the password that the first one has."""
    config = house.folder / "mta.toml"
    text = config.read_text()
    account = text.partition("[[account]]")[2].replace(f'"{ACCOUNT}"', f'"{name}"', 1)
    config.write_text(f"{text}\n[[account]]{account}")
    code, told = await house.server.command("reload")
    assert code == 0, told


async def test_a_fall_back_relay_takes_what_is_refused_for_who_we_are_and_nothing_else(tmp_path: Path) -> None:
    async with Receiver(hostname="relay.example.com") as relay:
        route = f'\n[[route]]\ndomain = "*"\nfallback = true\nrelay = "smtp://127.0.0.1:{relay.port}"\n'
        async with open_house(tmp_path / "house", more=route) as house:
            blocked = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"
            house.sink.answer("RCPT", "blocked@example.net", blocked)
            house.sink.answer("RCPT", "nobody@example.net", "550 5.1.1 No such mailbox")
            await house.submit("blocked@example.net", "nobody@example.net", "a@example.net")
            told = await attempts(house, 3)
            assert {recipient: each.type for recipient, each in told.items()} == {
                "blocked@example.net": "delivered",
                "nobody@example.net": "bounced",
                "a@example.net": "delivered",
            }
            assert told["blocked@example.net"].stages == ("rcpt", "dot")
            assert relay.recipients == [["blocked@example.net"]]


@pytest.mark.peer("dovecot-lmtpd")
async def test_lmtp_hands_over_to_a_real_store_of_mail(tmp_path: Path) -> None:
    async with open_dovecot() as dovecot:
        route = f'\n[[route]]\ndomain = "example.net"\nrelay = "lmtp://{dovecot.socket}"\n'
        async with open_house(tmp_path / "house", more=route) as house:
            content = message(("a@example.net",), body="A first line\n.\nand more\n" * 5000)
            await house.submit("a@example.net", content=content)
            await house.submit("nobody@example.net")
            told = await attempts(house, 2)
            assert told["a@example.net"].type == "delivered", told
            assert "CHUNKING" in told["a@example.net"].offered
            assert told["nobody@example.net"].said.startswith("550 5.1.1 ")
            (stored,) = dovecot.stored()
            assert split(stored)[1] == split(content)[1]


@pytest.mark.peer("dovecot-lmtpd")
async def test_a_batch_over_lmtp_is_answered_for_each_recipient_by_a_real_store_of_mail(tmp_path: Path) -> None:
    async with open_dovecot() as dovecot:
        route = f'\n[[route]]\ndomain = "example.net"\nrelay = "lmtp://{dovecot.socket}"\nbatch = true\n'
        async with open_house(tmp_path / "house", more=route) as house:
            names = ("full", "a", "nobody", "b")
            content = message(("all@example.net",), body="A first line\n.\nand more\n" * 5000)
            await house.submit(*(f"{name}@example.net" for name in names), content=content)
            told = await attempts(house, len(names))
            assert {name: (each.type, each.said[:9], each.stages) for name, each in told.items()} == {
                "full@example.net": ("deferred", "451 4.2.0", ("dot",)),
                "a@example.net": ("delivered", "250 2.0.0", ("dot",)),
                "nobody@example.net": ("bounced", "550 5.1.1", ("rcpt",)),
                "b@example.net": ("delivered", "250 2.0.0", ("dot",)),
            }
            # the answers behind the content are matched with those whom it is for
            assert all(f"<{name}>" in each.said for name, each in told.items())
            saved = [re.search(r"> (\S+):R[0-9] Saved", told[name].said) for name in ("a@example.net", "b@example.net")]
            assert len({each and each[1] for each in saved}) == 1
            stored = dovecot.stored()
            assert [split(one)[1] for one in stored] == [split(content)[1]] * 2
            paths = {re.findall(rb"(?m)^Return-Path: <(.+)>\r$", one)[0] for one in stored}
            assert [path[:1] for path in paths] == [b"g"]


async def test_requiretls_is_kept_along_the_way_and_fails_where_it_ends(tmp_path: Path) -> None:
    """Our smarthost promises it, the next host has no TLS at all; what the submitter hears in the end has no body."""
    route = '\n[[route]]\ndomain = "example.net"\nrelay = {submission}\n'
    async with (
        _smarthost(tmp_path / "smarthost") as smarthost,
        _sender(tmp_path / "house", smarthost, route) as house,
    ):
        _, back = house.server.address("inbound")
        onward = (("example.net", smarthost.sink.port), ("bounces.example.com", back))
        routes = (f'\n[[route]]\ndomain = "{to}"\nrelay = "smtp://127.0.0.1:{port}"\n' for to, port in onward)
        smarthost.config.write_text(smarthost.config.read_text() + "".join(routes))
        code, output = await smarthost.server.command("reload")
        assert code == 0, output
        await asyncio.to_thread(_submit_requiring_tls, house)
        told = (await attempts(house, 1))["a@example.net"]
        assert told.way == ("delivered", "requiretls", True, True)
        assert "REQUIRETLS" in told.offered
        bounced = (await attempts(smarthost, 1))["a@example.net"]
        assert (bounced.type, bounced.said[:10]) == ("bounced", "550 5.7.10")
        (dsn,) = await house.sink.wait_for(1, timeout=30)
        assert b"5.7.10" in dsn.content
        assert b"Content-Type: text/rfc822-headers" in dsn.content
        assert b"Subject: A test" in dsn.content
        assert b"Good morning." not in dsn.content


def _submit_requiring_tls(house: House) -> None:
    with house.connect() as client:
        client.ehlo()
        assert client.has_extn("requiretls")
        client.mail(SENDER, ["REQUIRETLS"])
        assert client.rcpt("a@example.net")[0] == 250
        assert client.data(message(("a@example.net",)))[0] == 250
    with smtplib.SMTP(*house.server.address("submission"), timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
