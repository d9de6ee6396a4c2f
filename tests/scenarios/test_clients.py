"""Mail clients that people really use, against the submission listener, and what they send on into the sink."""

import asyncio
import base64
import hashlib
import random
import smtplib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mta.cli.init import ACCOUNT
from mta.mail.header import split
from tests.scenarios.house import SENDER, House
from tests.scenarios.programs import run

RECIPIENT = "a@example.net"
HOSTNAME = "mail.example.com"
_FIELDS = (
    f"From: The App <{SENDER}>\r\nTo: {RECIPIENT}\r\nDate: Mon, 02 Jun 2025 12:00:00 +0200\r\n"
    "Message-ID: <{name}@example.com>\r\nMIME-Version: 1.0\r\n"
)
_ATTACHMENT = base64.encodebytes(random.Random(7).randbytes(1_000_000)).replace(b"\n", b"\r\n")
LETTERS = {
    "8bit": (
        _FIELDS + "Subject: Plain\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "Grüße, 日本.\r\n.\r\n..dots\r\n\r\nend\r\n".encode(),
    ),
    "utf8": (
        _FIELDS + "Subject: Grüße aus Köln 📮\r\nComments: Größe ✓\r\n",
        b"The header is in UTF-8 (RFC 6532).\r\n",
    ),
    "attachment": (
        _FIELDS + 'Subject: A picture\r\nContent-Type: multipart/mixed; boundary="=-="\r\n',
        b"--=-=\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--=-=\r\nContent-Type: image/jpeg\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + _ATTACHMENT + b"--=-=--\r\n",
    ),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as a file, with CRLF."""

    path: Path
    header: bytes
    body: bytes

    @property
    def octets(self) -> bytes:
        """All of it."""
        return self.header + b"\r\n" + self.body


Client = Callable[[House, Letter], Awaitable[str]]
"""Submits a letter; returns what the program said."""


async def _swaks(house: House, letter: Letter, listener: str, *tls: str) -> str:
    host, port = house.server.address(listener)
    trimmed = letter.path.with_suffix(".swaks")
    trimmed.write_bytes(letter.octets.removesuffix(b"\r\n"))  # swaks puts one there itself
    return await _ends_well(
        *("swaks", "--server", host, "--port", str(port), *tls, "--auth", "-au", ACCOUNT, "-ap", house.password),
        *("--from", SENDER, "--to", RECIPIENT, "--no-strip-from", "--suppress-data", "--data", f"@{trimmed}"),
    )


async def swaks_starttls(house: House, letter: Letter) -> str:
    return await _swaks(house, letter, "submission", "--tls")


async def swaks_tls_on_connect(house: House, letter: Letter) -> str:
    return await _swaks(house, letter, "submission_tls", "--tlsc")


async def _msmtp(house: House, letter: Letter, listener: str, starttls: str) -> str:
    host, port = house.server.address(listener)
    secret = house.folder / "password"
    secret.write_text(house.password + "\n")
    return await _ends_well(
        *("msmtp", "--file=/dev/null", f"--host={host}", f"--port={port}", "--tls=on", f"--tls-starttls={starttls}"),
        *(f"--tls-trust-file={house.folder}/tls/cert.pem", f"--tls-host-override={HOSTNAME}", "--auth=on"),
        *(f"--user={ACCOUNT}", f"--passwordeval=cat {secret}", f"--from={SENDER}", "--debug", "--", RECIPIENT),
        stdin=letter.octets.replace(b"\r\n", b"\n"),
    )


async def msmtp_starttls(house: House, letter: Letter) -> str:
    return await _msmtp(house, letter, "submission", "on")


async def msmtp_tls_on_connect(house: House, letter: Letter) -> str:
    return await _msmtp(house, letter, "submission_tls", "off")


async def _curl(house: House, letter: Letter, listener: str, scheme: str) -> str:
    host, port = house.server.address(listener)
    return await _ends_well(
        *("curl", "--silent", "--verbose", "--ssl-reqd", "--cacert", house.folder / "tls" / "cert.pem"),
        *("--resolve", f"{HOSTNAME}:{port}:{host}", "--user", f"{ACCOUNT}:{house.password}"),
        *("--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", letter.path),
        f"{scheme}://{HOSTNAME}:{port}/client.example.com",
    )


async def curl_smtp(house: House, letter: Letter) -> str:
    return await _curl(house, letter, "submission", "smtp")


async def curl_smtps(house: House, letter: Letter) -> str:
    return await _curl(house, letter, "submission_tls", "smtps")


async def smtplib_auth_login(house: House, letter: Letter) -> str:
    def submit() -> str:
        with smtplib.SMTP(*house.server.address("submission"), timeout=20) as client:
            client.starttls(context=house.context())
            client.ehlo()
            client.user, client.password = ACCOUNT, house.password
            assert client.auth("LOGIN", client.auth_login)[0] == 235
            client.sendmail(SENDER, [RECIPIENT], letter.octets, ["BODY=8BITMIME"])
        return ""

    return await asyncio.to_thread(submit)


async def smtplib_tls_on_connect(house: House, letter: Letter) -> str:
    def submit() -> str:
        with smtplib.SMTP_SSL(*house.server.address("submission_tls"), timeout=20, context=house.context()) as client:
            client.login(ACCOUNT, house.password)
            client.sendmail(SENDER, [RECIPIENT], letter.octets)
        return ""

    return await asyncio.to_thread(submit)


async def _ends_well(*command: str | Path, stdin: bytes = b"") -> str:
    ended = await run(*command, stdin=stdin)
    assert ended.code == 0, ended.output
    return ended.output


SWAKS, MSMTP, CURL = (pytest.mark.peer(name) for name in ("swaks", "msmtp", "curl"))


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(swaks_starttls, marks=SWAKS),
        pytest.param(swaks_tls_on_connect, marks=SWAKS),
        pytest.param(msmtp_starttls, marks=MSMTP),
        pytest.param(msmtp_tls_on_connect, marks=MSMTP),
        pytest.param(curl_smtp, marks=CURL),
        pytest.param(curl_smtps, marks=CURL),
        smtplib_auth_login,
        smtplib_tls_on_connect,
    ],
)
async def test_what_a_client_sends_arrives_octet_for_octet(house: House, client: Client) -> None:
    for number, (name, (fields, body)) in enumerate(LETTERS.items(), 1):
        letter = Letter(house.folder / f"{name}.eml", fields.format(name=name).encode(), body)
        letter.path.write_bytes(letter.octets)
        said = await client(house, letter)
        header, received = split((await house.sink.wait_for(number))[-1].content)
        assert hashlib.sha256(received).hexdigest() == hashlib.sha256(body).hexdigest(), said
        assert header.endswith(b"\r\n" + letter.header), said
