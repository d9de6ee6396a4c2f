"""`mta send`: a message through the running server's own listener, with a credential for this one use."""

import hashlib
import smtplib
import ssl
from dataclasses import dataclass
from email.utils import formatdate
from typing import IO

import click

from mta.cli.app import EX_DATAERR, EX_NO, EX_TEMPFAIL, EX_UNAVAILABLE, App, command, fail, json_option
from mta.mail.address import Mailbox


@dataclass(frozen=True, slots=True)
class Door:
    """Where and how to submit."""

    host: str
    port: int
    tls: str
    """`implicit`, `starttls` or `none`."""
    login: str
    password: str
    certificate_sha256: str | None


@click.command("send")
@click.option("--from", "sender", required=True, metavar="A", help="Reverse-path, and From where the file has none.")
@click.option("--to", "recipients", required=True, multiple=True, metavar="B", help="Recipient; may be repeated.")
@click.option("--account", metavar="N", help="Whose mail it is [default: the only account, or the one of A's domain].")
@click.option(
    "--stream", type=click.Choice(["transactional", "bulk"]), help="What it is [default: what the account sends]."
)
@click.argument("file", type=click.File("rb"))
@json_option
@command
def send(
    app: App,
    sender: str,
    recipients: tuple[str, ...],
    account: str | None,
    stream: str | None,
    file: IO[bytes],
    as_json: bool,
) -> None:
    """Submit the message in FILE (- for standard input): a header, a blank line, a body."""
    _check_addresses(sender, recipients)
    content = _complete(file.read(), sender, recipients)
    door = Door(**app.client().one("credential", account=account, stream=stream, sender=sender))
    try:
        with _connect(door) as client:
            client.login(door.login, door.password)
            reply = _submit(client, sender, recipients, content)
    except smtplib.SMTPResponseException as refused:
        text = refused.smtp_error.decode("utf-8", "replace") if isinstance(refused.smtp_error, bytes) else ""
        fail(f"refused: {refused.smtp_code} {text}", EX_TEMPFAIL if refused.smtp_code < 500 else EX_NO)
    except (OSError, smtplib.SMTPException) as trouble:
        fail(f"{door.host}:{door.port}: {trouble}", EX_UNAVAILABLE)
    output = app.output(json=as_json)
    queue_id = reply.rpartition(" ")[2]
    if output.is_json:
        output.record({"queue_id": queue_id, "reply": reply})
        return
    output.line(reply)
    output.line(f"what becomes of it: mta why {queue_id}")


def _check_addresses(sender: str, recipients: tuple[str, ...]) -> None:
    try:
        for address in (sender, *recipients):
            Mailbox.parse(address, utf8=True)
    except ValueError as error:
        fail(f"{error}; write an address such as alice@example.com", EX_DATAERR)


def _complete(octets: bytes, sender: str, recipients: tuple[str, ...]) -> bytes:
    """Return the message with CRLF line ends, and with From, To and Date where it has none."""
    content = b"\r\n".join(octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    head = content.partition(b"\r\n\r\n")[0]
    names = {line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n")}
    first = head.split(b"\r\n")[0]
    if b":" not in first:
        fail("the file has no header; it begins with fields such as 'Subject: …' and a blank line", EX_DATAERR)
    added = []
    for name, value in (("From", sender), ("To", ", ".join(recipients)), ("Date", formatdate())):
        if name.lower().encode() not in names:
            added.append(f"{name}: {value}\r\n")
    return "".join(added).encode() + content


def _connect(door: Door) -> smtplib.SMTP:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # the certificate may be self-signed; that it is the server's own is checked by its digest, heard over the socket
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if door.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(door.host, door.port, timeout=60, context=context)
    else:
        client = smtplib.SMTP(door.host, door.port, timeout=60)
        if door.tls == "starttls":
            client.starttls(context=context)
    if door.tls != "none":
        assert isinstance(client.sock, ssl.SSLSocket)  # noqa: S101  both ways above end in TLS
        if hashlib.sha256(client.sock.getpeercert(binary_form=True) or b"").hexdigest() != door.certificate_sha256:
            raise smtplib.SMTPException("another server answers at this address: its certificate is not ours")
    return client


def _submit(client: smtplib.SMTP, sender: str, recipients: tuple[str, ...], content: bytes) -> str:
    client.ehlo_or_helo_if_needed()
    options = ["SMTPUTF8"] if not "".join((sender, *recipients)).isascii() else []
    _expect(client.mail(sender, options))
    for recipient in recipients:
        _expect(client.rcpt(recipient))
    code, text = client.data(content)
    _expect((code, text))
    return f"{code} {text.decode('utf-8', 'replace')}"


def _expect(reply: tuple[int, bytes]) -> None:
    if reply[0] >= 400:
        raise smtplib.SMTPResponseException(reply[0], reply[1])
