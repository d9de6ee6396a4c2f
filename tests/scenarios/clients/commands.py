"""Programs that submit a file: swaks, msmtp and curl."""

from collections.abc import Sequence

from mta.cli.init import ACCOUNT
from tests.scenarios.clients.desk import CLIENT, Desk, Parcel, Tls, ends_well
from tests.scenarios.house import SENDER

MECHANISM = {Tls.STARTTLS: "PLAIN", Tls.IMPLICIT: "LOGIN"}
"""How clients that can choose log in: each mechanism has its turn."""


async def swaks(desk: Desk, tls: Tls, parcels: Sequence[Parcel], *more: str) -> None:
    """It makes CRLF of LF. It takes off a final dot, and whatever looks like one; Debian's knows no SMTPUTF8."""
    host, port = desk.house.server.address(tls.listener)
    for parcel in parcels:
        dotted = parcel.path.with_suffix(".swaks")
        dotted.write_bytes(parcel.path.read_bytes() + b".\r\n")
        await ends_well(
            *("swaks", "--server", host, "--port", str(port), "--tls" if tls is Tls.STARTTLS else "--tlsc", *more),
            *("--tls-verify", "--tls-ca-path", desk.authority, "--ehlo", CLIENT, "--suppress-data"),
            *("--auth", MECHANISM[tls], "-au", ACCOUNT, "-ap", desk.house.password),
            *("--from", SENDER, "--to", parcel.recipient, "--no-strip-from", "--data", f"@{dotted}"),
        )


async def swaks_pipelining(desk: Desk, tls: Tls, parcels: Sequence[Parcel]) -> None:
    """MAIL, RCPT and DATA in one packet."""
    await swaks(desk, tls, parcels, "--pipeline")


async def msmtp(desk: Desk, tls: Tls, parcels: Sequence[Parcel], mechanism: str = "") -> None:
    """It reads a message from its standard input, as sendmail does, with LF or CRLF."""
    host, port = desk.house.server.address(tls.listener)
    secret = desk.house.folder / "password"
    secret.write_text(desk.house.password + "\n")
    for parcel in parcels:
        await ends_well(
            *("msmtp", "--file=/dev/null", f"--host={host}", f"--port={port}", f"--domain={CLIENT}", "--tls=on"),
            f"--tls-starttls={'on' if tls is Tls.STARTTLS else 'off'}",
            *(f"--tls-trust-file={desk.authority}", f"--auth={(mechanism or MECHANISM[tls]).lower()}"),
            *(f"--user={ACCOUNT}", f"--passwordeval=cat {secret}", f"--from={SENDER}"),
            *("--set-date-header=off", "--debug", "--", parcel.recipient),
            stdin=parcel.path.read_bytes(),
        )


async def curl(desk: Desk, tls: Tls, parcels: Sequence[Parcel], *more: str) -> None:
    """It sends a file as it is."""
    host, port = desk.house.server.address(tls.listener)
    scheme = "smtp" if tls is Tls.STARTTLS else "smtps"
    for parcel in parcels:
        await ends_well(
            *("curl", "--silent", "--verbose", "--ssl-reqd", "--cacert", str(desk.authority), *more),
            *("--user", f"{ACCOUNT}:{desk.house.password}", "--login-options", f"AUTH={MECHANISM[tls]}"),
            *("--mail-from", SENDER, "--mail-rcpt", parcel.recipient, "--upload-file", str(parcel.path)),
            f"{scheme}://{host}:{port}/{CLIENT}",
        )


async def curl_crlf(desk: Desk, tls: Tls, parcels: Sequence[Parcel]) -> None:
    """It makes CRLF of LF when it is told to."""
    await curl(desk, tls, parcels, "--crlf")
