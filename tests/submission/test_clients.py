"""Real clients: Python's smtplib, swaks and msmtp submit over every kind of listener."""

import asyncio
import smtplib
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from mta.smtp.settings import Kind
from tests.submission.conftest import PASSWORD, House

BODY = b"caf\xc3\xa9\r\n.\r\n..two dots\r\n" + b"x" * 998 + b"\r\nFrom me\r\n\r\nend\r\n"


def connected(house: House, kind: Kind) -> smtplib.SMTP:
    """Connect with smtplib, under TLS where the listener has it."""
    if kind is Kind.TLS:
        return smtplib.SMTP_SSL("127.0.0.1", house.port(kind), timeout=20, context=house.client_context)
    client = smtplib.SMTP("127.0.0.1", house.port(kind), timeout=20)
    if kind is Kind.STARTTLS:
        client.starttls(context=house.client_context)
    return client


async def in_thread(house: House, kind: Kind, story: Callable[[smtplib.SMTP], None]) -> None:
    """Run a story with a logged in smtplib client."""

    def run() -> None:
        with connected(house, kind) as client:
            client.login("shop", PASSWORD)
            story(client)

    await asyncio.to_thread(run)


@pytest.mark.parametrize("kind", list(Kind))
async def test_smtplib_submits_octet_for_octet(house: House, kind: Kind) -> None:
    content = b"From: a@own.example\r\nBcc: secret@example.net\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n" + BODY

    def story(client: smtplib.SMTP) -> None:
        assert client.sendmail("a@own.example", ["b@example.net", "secret@example.net"], content) == {}

    await in_thread(house, kind, story)
    header, _, body = house.octets().partition(b"\r\n\r\n")
    assert body == BODY
    assert header.endswith(b"\r\nFrom: a@own.example\r\nSubject: =?utf-8?q?caf=C3=A9?=")
    assert b"secret" not in header


async def test_smtplib_sends_a_message_with_everything(house: House) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Jörg <a@own.example>", "b@example.net", "Grüße"
    message.set_content("Grüße\n" * 100)
    message.add_attachment(bytes(range(256)) * 2000, maintype="application", subtype="octet-stream", filename="é.bin")
    message.set_boundary("a boundary")

    def send(client: smtplib.SMTP) -> None:
        client.send_message(message)

    await in_thread(house, Kind.STARTTLS, send)
    kept = house.octets()
    assert kept.endswith(message.as_bytes().replace(b"\n", b"\r\n").partition(b"\r\n\r\n")[2])


async def test_smtplib_uses_smtputf8_where_an_address_needs_it(house: House) -> None:
    def story(client: smtplib.SMTP) -> None:
        client.sendmail("é@own.example", ["ü@example.net"], "From: é@own.example\r\n\r\n".encode(), ["SMTPUTF8"])

    await in_thread(house, Kind.TLS, story)
    assert house.messages[0].smtputf8
    assert str(house.messages[0].reverse_path) == "é@own.example"


async def test_smtplib_hears_that_its_password_is_wrong(house: House) -> None:
    def run() -> None:
        with connected(house, Kind.STARTTLS) as client, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("shop", "wrong")
        assert refused.value.smtp_code == 535

    await asyncio.to_thread(run)


def ran(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


@pytest.mark.peer("swaks")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Kind.STARTTLS, ["--tls", "--auth", "PLAIN"]),
        (Kind.STARTTLS, ["--tls", "--auth", "LOGIN"]),
        (Kind.TLS, ["--tls-on-connect", "--auth", "PLAIN"]),
        (Kind.PLAIN, ["--auth", "LOGIN"]),
        (Kind.PLAIN, ["--auth", "PLAIN", "--pipeline"]),
    ],
)
async def test_swaks_submits(house: House, tmp_path: Path, kind: Kind, options: list[str]) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"From: a@own.example\nSubject: x\n\nline\n.\n..dots")
    done = await asyncio.to_thread(
        ran, "swaks", "--server", "127.0.0.1", "--port", str(house.port(kind)), "--auth-user", "shop",
        "--auth-password", PASSWORD, "--from", "a@own.example", "--to", "b@example.net", "--data", f"@{data}", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    assert f"Ok: queued as {house.messages[0].id}" in done.stdout.decode()
    assert house.octets().partition(b"\r\n\r\n")[2] == b"line\r\n.\r\n..dots\r\n"


@pytest.mark.peer("swaks")
async def test_swaks_without_tls_is_not_let_in(house: House) -> None:
    done = await asyncio.to_thread(
        ran, "swaks", "--server", "127.0.0.1", "--port", str(house.port(Kind.STARTTLS)), "--auth", "--auth-user",
        "shop", "--auth-password", PASSWORD, "--from", "a@own.example", "--to", "b@example.net",
    )  # fmt: skip
    assert done.returncode == 28, done.stdout.decode()  # no authentication to be had
    assert house.messages == []


@pytest.mark.peer("msmtp")
@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
async def test_msmtp_submits_and_checks_our_certificate(
    house: House, authority: trustme.CA, tmp_path: Path, kind: Kind
) -> None:
    anchor = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(anchor))
    done = await asyncio.to_thread(
        ran, "msmtp", "--host=127.0.0.1", f"--port={house.port(kind)}", "--tls=on", f"--tls-trust-file={anchor}",
        f"--tls-starttls={'on' if kind is Kind.STARTTLS else 'off'}", "--auth=plain", "--user=shop",
        f"--passwordeval=echo '{PASSWORD}'", "--from=a@own.example", "b@example.net",
        stdin=b"From: a@own.example\nSubject: x\n\nline\n.\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert house.octets().partition(b"\r\n\r\n")[2] == b"line\r\n.\r\n"
