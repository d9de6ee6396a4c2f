"""SCRAM with a running server: GNU SASL's client proves its password, and ours binds itself to the certificate."""

import asyncio
import base64
import hashlib
import smtplib
import ssl

import pytest

from mta.cli.init import ACCOUNT
from tests.scenarios.house import House
from tests.submission.scram_client import ScramClient


async def gsasl(house: House, mechanism: str, *more: str, login: str = ACCOUNT, password: str = "") -> tuple[int, str]:
    """Run GNU SASL's client over STARTTLS; return how it ended, and all it printed."""
    host, port = house.server.address("submission")
    process = await asyncio.create_subprocess_exec(
        "gsasl", "--client", "--smtp", "--verbose", f"--connect={host}:{port}", "--starttls", "--no-cb",
        "--x509-ca-file=", "--hostname=mail.example.com",  # the certificate is self-signed, for another name
        f"--mechanism={mechanism}", f"--authentication-id={login}", f"--password={password or house.password}", *more,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")


@pytest.mark.peer("gsasl")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
async def test_gnu_sasl_logs_in(house: House, mechanism: str) -> None:
    code, output = await gsasl(house, mechanism)
    assert code == 0, output
    assert "235 2.7.0" in output
    # it checks the server's own proof, and ends otherwise if that is wrong
    assert "server trusted" in output


@pytest.mark.peer("gsasl")
@pytest.mark.parametrize(
    ("login", "password", "more"),
    [
        (ACCOUNT, "wrong", []),
        ("nobody", "", []),
        (f"{ACCOUNT}/river", "", []),
        (ACCOUNT, "", ["--authorization-id=root"]),
    ],
    ids=["wrong password", "unknown name", "unknown stream", "as somebody else"],
)
async def test_gnu_sasl_is_refused(house: House, login: str, password: str, more: list[str]) -> None:
    code, output = await gsasl(house, "SCRAM-SHA-256", *more, login=login, password=password)
    assert code != 0
    assert "535 5.7.8" in output
    assert "235" not in output


@pytest.mark.parametrize("kind", ["submission", "submission_tls"])
async def test_a_client_binds_its_login_to_the_certificate(house: House, kind: str) -> None:
    address = house.server.address(kind)

    def run() -> list[str]:
        client: smtplib.SMTP
        if kind == "submission_tls":
            client = smtplib.SMTP_SSL(*address, timeout=30, context=house.context())
        else:
            client = smtplib.SMTP(*address, timeout=30)
            client.starttls(context=house.context())
        with client:
            assert isinstance(client.sock, ssl.SSLSocket)
            shown = client.sock.getpeercert(binary_form=True) or b""
            replies = []
            for data in (hashlib.sha256(b"somebody else's").digest(), hashlib.sha256(shown).digest()):
                client.ehlo()
                assert "SCRAM-SHA-256-PLUS" in client.esmtp_features["auth"].split()
                replies.append(_log_in(client, ScramClient(ACCOUNT, house.password, "p=tls-server-end-point,,", data)))
            return replies

    assert await asyncio.to_thread(run) == ["535 5.7.8", "235 2.7.0"]


def _log_in(client: smtplib.SMTP, scram: ScramClient) -> str:
    code, text = client.docmd("AUTH", f"SCRAM-SHA-256-PLUS {base64.b64encode(scram.first()).decode()}")
    if code == 334:
        code, text = client.docmd(base64.b64encode(scram.final(base64.b64decode(text))).decode())
    if code == 334:
        assert scram.believes(base64.b64decode(text))
        code, text = client.docmd("")
    return f"{code} {text.decode()}"[:9]
