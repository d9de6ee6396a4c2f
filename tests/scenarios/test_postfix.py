"""Mail handed over to a real Postfix: what it stores, what it refuses, and when it is not there."""

import email
import email.policy
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mta.cli.init import ACCOUNT
from mta.dkim.keys import SigningKey
from mta.mail.header import Field, Header, split
from tests.dkim.test_verifiers import by_mail_dkim, by_opendkim
from tests.scenarios.house import House, message, open_house
from tests.scenarios.postfix import HOST, Postfix, open_postfix
from tests.scenarios.programs import run

HEADER = b"""\
From: The App <app@example.com>
To: a@example.net
SUBJECT:  odd
  folding
Date: Mon, 02 Jun 2025 12:00:00 +0200
Message-ID: <kept@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
""".replace(b"\n", b"\r\n")
REMOVED = b"Bcc: b@example.net\r\nX-MTA-Tag: spring\r\n"
BODY = b"dots:\r\n.\r\n..\r\n.three\r\n" + b"x" * 998 + b"\r\n8-bit: \xc3\xa9\r\n\tblanks \t \r\n\r\nend\r\n"

ROUTE = """
[[route]]
domain = "example.net"
relay = "smtp://{host}:{port}"
"""


@pytest.fixture
async def postfix() -> AsyncIterator[Postfix]:
    async with open_postfix() as started:
        yield started


@pytest.fixture
async def house(tmp_path: Path, postfix: Postfix) -> AsyncIterator[House]:
    """A server that hands mail for example.net to Postfix; what is for example.com goes to the sink."""
    async with open_house(tmp_path / "house", more=ROUTE.format(host=HOST, port=postfix.port)) as built:
        built.names.add(HOST, "A", "127.0.0.1")
        yield built


@pytest.mark.peer("postfix", "swaks", "opendkim", "libmail-dkim-perl")
async def test_what_swaks_submits_is_what_postfix_stores(house: House, postfix: Postfix) -> None:
    queue_id = await _swaks(house, HEADER + REMOVED + b"\r\n" + BODY)
    await house.wait_for_states(queue_id, "delivered")
    (stored,) = postfix.mailbox("a")
    header, body = split(stored)
    assert body == BODY
    added, kept = header.split(b"From: ", 1)
    assert b"From: " + kept == HEADER
    assert [one.name for one in Header.parse(added).fields] == [
        *("return-path", "x-original-to", "delivered-to", "received"),  # Postfix's own
        *("x-report-token", "dkim-signature", "dkim-signature", "received"),
    ]
    _assert_both_signatures_verify(house, stored)


async def _swaks(house: House, content: bytes) -> str:
    """Submit as an administrator would who tries it out; return the queue id."""
    letter = house.folder / "letter.eml"
    letter.write_bytes(content.removesuffix(b"\r\n"))  # swaks puts one there itself
    host, port = house.server.address("submission")
    options = ("--tls", "-a", "-au", ACCOUNT, "-ap", house.password, "--no-strip-from", "--suppress-data")
    envelope = ("--from", "app@example.com", "--to", "a@example.net")
    ended = await run("swaks", "--server", host, "--port", str(port), *options, *envelope, "--data", f"@{letter}")
    assert ended.code == 0, ended.output
    return ended.output.partition("queued as ")[2].split()[0]


def _assert_both_signatures_verify(house: House, stored: bytes) -> None:
    keys = [
        SigningKey.parse("example.com", selector, (house.folder / "dkim" / f"example.com.{selector}.pem").read_bytes())
        for selector in ("r1", "e1")
    ]
    for selector in ("r1", "e1"):
        assert by_opendkim(_only_signature(stored, selector), keys, house.folder), selector
    assert by_mail_dkim(_only_signature(stored, "r1"), keys, house.folder)  # it knows no Ed25519 yet


def _only_signature(stored: bytes, selector: str) -> bytes:
    """The message without its other signature: verifiers say one word about both."""
    header, body = split(stored)

    def stays(one: Field) -> bool:
        return one.name != "dkim-signature" or f"s={selector};".encode() in one.raw

    return bytes(Header(tuple(one for one in Header.parse(header).fields if stays(one)))) + b"\r\n" + body


@pytest.mark.peer("postfix")
async def test_why_names_the_host_the_tls_version_and_the_reply(house: House, postfix: Postfix) -> None:
    queue_id = await house.submit("a@example.net")
    await house.wait_for_states(queue_id, "delivered")
    assert "Anonymous TLS connection established from unknown[127.0.0.1]: TLSv1.3" in postfix.log()
    code, told = await house.server.command("why", queue_id)
    assert code == 0
    line = next(line for line in told.splitlines() if "at dot" in line)
    assert f"{HOST}[127.0.0.1]:{postfix.port}, TLSv1.3 (opportunistic), at dot, " in line
    assert re.search(r": 250 2\.0\.0 Ok: queued as ", line)
    assert f"{line.split()[-1]}: from=<" in postfix.log()  # the id it names is Postfix's own


@pytest.mark.peer("postfix")
async def test_a_recipient_that_postfix_refuses_comes_back_as_a_dsn(house: House, postfix: Postfix) -> None:
    queue_id = await house.submit("nobody@example.net", "b@example.net")
    (dsn,) = await house.sink.wait_for(1)
    await house.wait_for_states(queue_id, "bounced", "delivered")
    assert (dsn.reverse_path, dsn.recipients) == ("", ("app@example.com",))
    report = email.message_from_bytes(dsn.content, policy=email.policy.default)
    status = dict(list(report.walk())[2].get_payload()[1].items())  # type: ignore[union-attr,index]  # parts
    assert status["Final-Recipient"] == "rfc822;nobody@example.net"
    assert status["Status"] == "5.1.1"
    assert "550 5.1.1 <nobody@example.net>: Recipient address rejected" in status["Diagnostic-Code"]
    assert len(postfix.mailbox("b")) == 1


@pytest.mark.peer("postfix")
@pytest.mark.slow
async def test_mail_waits_while_postfix_is_down(house: House, postfix: Postfix) -> None:
    await postfix.stop()
    queue_id = await house.submit("a@example.net", content=message(("a@example.net",), subject="Patience"))
    await house.wait_for_states(queue_id, "queued")
    await postfix.start()
    await house.wait_for_states(queue_id, "delivered")
    (stored,) = postfix.mailbox("a")
    assert b"Subject: Patience\r\n" in stored
