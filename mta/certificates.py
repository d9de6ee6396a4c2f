"""The certificate that submission listeners show: the configured one, or one of our own that is made once.

How one is made is in `cli.certificate`; whether one is still good is `inspection`'s question.
"""

import hashlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from mta.cli.certificate import self_signed
from mta.clock import Clock
from mta.config.settings import ServerTls, Settings
from mta.errors import ConfigError, Problem
from mta.submission.binding import BoundContext, end_point_of

SELF_SIGNED_DAYS = 824
"""As long as clients still take a self-signed certificate."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What listeners show, and the digest by which our own commands know it."""

    context: ssl.SSLContext
    sha256: str


def server_certificate(settings: Settings, clock: Clock) -> ServerCertificate:
    """Return the configured certificate, or a self-signed one of our own, made once and kept in `data_dir`.

    Raises:
        ConfigError: the files do not belong together, or are no certificate.
    """
    tls = settings.submission.tls
    cert, key = certificate_files(settings)
    if not (tls.cert and tls.key) and not (cert.exists() and key.exists()):
        _make(settings, clock)
    return load_certificate(cert, key, tls)


def certificate_files(settings: Settings) -> tuple[Path, Path]:
    """Return where certificate and key are; our own need not exist yet."""
    tls = settings.submission.tls
    if tls.cert and tls.key:
        return tls.cert, tls.key
    return settings.data_dir / "self-signed.pem", settings.data_dir / "self-signed.key"


def load_certificate(cert: Path, key: Path, tls: ServerTls) -> ServerCertificate:
    """Return a certificate for servers.

    Raises:
        ConfigError: the files do not belong together, or are no certificate.
    """
    context = BoundContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        der = ssl.PEM_cert_to_DER_cert(_first_certificate(cert.read_text("utf-8", "replace")))
        context.end_point = end_point_of(der)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        remedy = (
            f"these two must print the same: openssl x509 -noout -pubkey -in {cert}; openssl pkey -pubout -in {key}"
        )
        reason = f"does not go with {key}: {_why(error)}"
        raise ConfigError(Problem(str(cert), None, "submission.tls", reason, remedy)) from None
    return ServerCertificate(context, hashlib.sha256(der).hexdigest())


def make_data_dir(settings: Settings) -> None:
    """Make the folder of everything that is kept, for us alone, where there is none.

    Raises:
        ConfigError: it cannot be made.
    """
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        remedy = f"make it, and give it to the user that mta runs as: install -d -m 700 {folder}"
        raise ConfigError(Problem("", None, "data_dir", f"{folder}: {error.strerror}", remedy)) from None


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _first_certificate(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    begin, stop = pem.find("-----BEGIN CERTIFICATE-----"), pem.find(end)
    if begin < 0 or stop < 0:
        raise ValueError("there is no certificate in it")
    return pem[begin : stop + len(end)]


def _make(settings: Settings, clock: Clock) -> None:
    cert, key = certificate_files(settings)
    made = self_signed(settings.hostname, now=clock.now(), days=SELF_SIGNED_DAYS)
    try:
        for path, octets in ((key, made.key_pem), (cert, made.cert_pem)):
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(octets)
    except OSError as error:
        remedy = f"give {settings.data_dir} to the user that mta runs as"
        raise ConfigError(Problem(str(error.filename), None, "data_dir", str(error.strerror), remedy)) from None
