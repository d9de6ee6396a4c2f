"""Python's smtplib, plain and with BDAT, and nodemailer, which runs in a process of its own."""

import asyncio
import json
import smtplib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mta.cli.init import ACCOUNT
from tests.scenarios.clients.commands import MECHANISM
from tests.scenarios.clients.desk import CLIENT, Desk, Parcel, Tls, ends_well
from tests.scenarios.house import SENDER

_NODE = Path(__file__).with_name("node") / "submit.mjs"
# octets of the chunks, in turn; they cut lines, CRLFs, characters and dots apart
_CHUNKS = (1, 2, 61, 997, 3, 65_536, 100_000)


@contextmanager
def connected(desk: Desk, tls: Tls) -> Iterator[smtplib.SMTP]:
    """A client that is logged in. Blocks."""
    address = desk.house.server.address(tls.listener)
    client: smtplib.SMTP
    if tls is Tls.IMPLICIT:
        client = smtplib.SMTP_SSL(*address, CLIENT, timeout=30, context=desk.context())
    else:
        client = smtplib.SMTP(*address, CLIENT, timeout=30)
    with client:
        if tls is Tls.STARTTLS:
            client.starttls(context=desk.context())
        client.ehlo()
        client.user, client.password = ACCOUNT, desk.house.password
        answer = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[MECHANISM[tls]]
        code, text = client.auth(MECHANISM[tls], answer)
        assert code == 235, text
        yield client


async def python_smtplib(desk: Desk, tls: Tls, parcels: Sequence[Parcel]) -> None:
    """`sendmail` as most programs call it: no BODY=, whatever the content; all over one connection."""

    def submit() -> None:
        with connected(desk, tls) as client:
            for parcel in parcels:
                options = () if parcel.recipient.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
                client.sendmail(SENDER, [parcel.recipient], parcel.path.read_bytes(), options)

    await asyncio.to_thread(submit)


async def chunking(desk: Desk, tls: Tls, parcels: Sequence[Parcel]) -> None:
    """BDAT (RFC 3030), four chunks in a packet, one of them empty, and every other message ended by an empty one."""

    def submit() -> None:
        with connected(desk, tls) as client:
            assert client.has_extn("CHUNKING"), "the server does not offer CHUNKING"
            for number, parcel in enumerate(parcels):
                assert client.mail(SENDER, ["BODY=8BITMIME"])[0] == 250
                assert client.rcpt(parcel.recipient)[0] == 250
                _send_chunks(client, parcel.path.read_bytes(), ends_empty=bool(number % 2))

    await asyncio.to_thread(submit)


def _send_chunks(client: smtplib.SMTP, octets: bytes, *, ends_empty: bool) -> None:
    chunks: list[bytes] = []
    start = 0
    while start < len(octets):
        size = _CHUNKS[len(chunks) % len(_CHUNKS)]
        chunks.append(octets[start : start + size])
        start += size
    chunks.insert(len(chunks) // 2, b"")
    if ends_empty:
        chunks.append(b"")
    group = b""
    waiting = 0
    for number, chunk in enumerate(chunks, 1):
        last = b" LAST" if number == len(chunks) else b""
        group += b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk)
        waiting += 1
        if last or waiting == 4:
            client.sock.sendall(group)  # type: ignore[union-attr]  # it is connected
            for _ in range(waiting):
                code, text = client.getreply()
                assert code == 250, (code, text)
            group, waiting = b"", 0


async def nodemailer(desk: Desk, tls: Tls, parcels: Sequence[Parcel]) -> None:
    """Its `raw` messages. It pipelines MAIL, RCPT and DATA."""
    mails = [{"raw": str(parcel.path), "envelope": {"from": SENDER, "to": [parcel.recipient]}} for parcel in parcels]
    await run_nodemailer(desk, tls, mails)


async def run_nodemailer(desk: Desk, tls: Tls, mails: Sequence[Mapping[str, Any]]) -> None:
    """Let nodemailer submit what its script is told to."""
    host, port = desk.house.server.address(tls.listener)
    job = {
        "host": host,
        "port": port,
        "implicit": tls is Tls.IMPLICIT,
        "authority": str(desk.authority),
        "name": CLIENT,
        "login": {"user": ACCOUNT, "pass": desk.house.password, "method": MECHANISM[tls]},
        "mails": mails,
    }
    await ends_well("node", _NODE, stdin=json.dumps(job).encode())
