"""Mail clients that people really use, against the submission listener, and what they send on into the sink.

Every letter goes by every client, over STARTTLS and over implicit TLS, logged in by PLAIN and by LOGIN, and must arrive
octet for octet but for the documented changes. The clients check the server's certificate. What some of them cannot:
swaks, msmtp and Django do not say SMTPUTF8, nobody but our own script knows BDAT, and only msmtp logs in with SCRAM.
"""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from mta.cli.init import ACCOUNT
from tests.scenarios.clients import desk as desks
from tests.scenarios.clients.commands import curl, curl_crlf, msmtp, swaks, swaks_pipelining
from tests.scenarios.clients.desk import Client, Desk, Parcel, Tls, ends_well
from tests.scenarios.clients.letters import ATTACHMENT, DOTS, EIGHT_BIT, INTERNATIONAL, LETTERS, PLAIN, generated
from tests.scenarios.clients.libraries import chunking, nodemailer, python_smtplib, run_nodemailer
from tests.scenarios.house import SENDER

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DJANGO = Path(__file__).parent / "clients" / "django_app.py"
PEER: dict[Client, pytest.MarkDecorator] = {
    client: pytest.mark.peer(name)
    for client, name in (
        (swaks, "swaks"),
        (swaks_pipelining, "swaks"),
        (msmtp, "msmtp"),
        (curl, "curl"),
        (curl_crlf, "curl"),
        (nodemailer, "nodemailer"),
    )
}


def by(*clients: Client) -> pytest.MarkDecorator:
    """The test once for each client, where its program is."""
    rows = [pytest.param(client, id=client.__name__, marks=PEER.get(client, ())) for client in clients]
    return pytest.mark.parametrize("client", rows)


over_each_tls = pytest.mark.parametrize("tls", list(Tls))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """One server and one sink for all clients."""
    async with desks.open_desk(tmp_path_factory.mktemp("clients") / "house") as opened:
        yield opened


@over_each_tls
@by(swaks, swaks_pipelining, msmtp, curl, python_smtplib, nodemailer, chunking)
async def test_what_a_client_sends_arrives_octet_for_octet(desk: Desk, client: Client, tls: Tls) -> None:
    parcels = [desk.pack(letter) for letter in LETTERS]
    await client(desk, tls, parcels)
    assert await desk.flaws(parcels) == []


@by(swaks, msmtp, curl_crlf, nodemailer)
async def test_a_file_with_bare_line_feeds_arrives_with_crlf(desk: Desk, client: Client) -> None:
    parcels = [desk.pack(letter, letter.octets.replace(b"\r\n", b"\n")) for letter in LETTERS if letter != ATTACHMENT]
    await client(desk, Tls.STARTTLS, parcels)
    assert await desk.flaws(parcels) == []


@over_each_tls
@by(curl, python_smtplib, nodemailer)
async def test_mail_to_an_international_address_is_sent_on_with_smtputf8(desk: Desk, client: Client, tls: Tls) -> None:
    parcel = desk.pack(INTERNATIONAL)
    await client(desk, tls, [parcel])
    assert await desk.flaws([parcel]) == []
    assert "SMTPUTF8" in (await desk.arrival(parcel.recipient)).mail_parameters


@by(swaks, msmtp)
async def test_a_client_that_cannot_say_smtputf8_hears_why_it_is_refused(desk: Desk, client: Client) -> None:
    with pytest.raises(AssertionError, match=r"5\d\d 5\.\d\.\d [^\n]*SMTPUTF8"):
        await client(desk, Tls.STARTTLS, [desk.pack(INTERNATIONAL)])


@by(swaks, msmtp, curl, python_smtplib, nodemailer)
async def test_octets_over_127_without_body_are_sent_on_as_8bitmime(desk: Desk, client: Client) -> None:
    parcels = [desk.pack(EIGHT_BIT), desk.pack(PLAIN)]
    await client(desk, Tls.IMPLICIT, parcels)
    said = [(await desk.arrival(parcel.recipient)).mail_parameters for parcel in parcels]
    assert ["BODY=8BITMIME" in parameters for parameters in said] == [True, False]


@over_each_tls
@pytest.mark.peer("msmtp")
async def test_msmtp_logs_in_with_scram(desk: Desk, tls: Tls) -> None:
    parcel = desk.pack(DOTS)
    await msmtp(desk, tls, [parcel], mechanism="SCRAM-SHA-256")
    assert await desk.flaws([parcel]) == []


@over_each_tls
async def test_what_django_makes_arrives_octet_for_octet(desk: Desk, tls: Tls) -> None:
    mails = _mails(desk, "text", "long lines", "too long lines", "alternatives", "attachment")
    host, port = desk.house.server.address(tls.listener)
    job = {
        "host": host,
        "port": port,
        "implicit": tls is Tls.IMPLICIT,
        "user": ACCOUNT,
        "password": desk.house.password,
        "sender": SENDER,
        "mails": mails,
    }
    # Django takes the machine's authorities, and this is how OpenSSL is told of others
    await ends_well("env", f"SSL_CERT_FILE={desk.authority}", sys.executable, _DJANGO, stdin=json.dumps(job).encode())
    assert await _flaws(desk, mails) == []


@over_each_tls
@pytest.mark.peer("nodemailer")
async def test_what_nodemailer_composes_arrives_octet_for_octet(desk: Desk, tls: Tls) -> None:
    mails = _mails(desk, "text", "alternatives", "attachment")
    await run_nodemailer(desk, tls, mails)
    assert await _flaws(desk, mails) == []


def _mails(desk: Desk, *kinds: str) -> list[Mapping[str, str]]:
    """What a program is told to compose, and where it leaves what it made."""
    parcels = [desk.pack(generated(kind, b"")) for kind in kinds]
    return [
        {"compose": parcel.letter.name, "sender": SENDER, "recipient": parcel.recipient, "saved": str(parcel.path)}
        for parcel in parcels
    ]


async def _flaws(desk: Desk, mails: list[Mapping[str, str]]) -> list[str]:
    return await desk.flaws([_made(mail) for mail in mails])


def _made(mail: Mapping[str, str]) -> Parcel:
    path = Path(mail["saved"])
    return Parcel(generated(mail["compose"], path.read_bytes()), path, mail["recipient"])
