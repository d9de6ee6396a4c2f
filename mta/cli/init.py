"""`mta init`: a folder from which `mta serve` works at once, with keys, certificate, keyring and a first account."""

import secrets
import shlex
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from mta.accounts.password import generate_secret, hash_password
from mta.accounts.scram import SALT_OCTETS, Verifier
from mta.cli.app import EX_CANTCREAT, EX_DATAERR, App, command, fail, json_option
from mta.cli.certificate import self_signed
from mta.dkim import keys
from mta.mail.address import parse_domain
from mta.mail.token import Keyring

ACCOUNT = "app"
CERTIFICATE_DAYS = 824
"""As long as clients still take a self-signed certificate."""

STANDARD_PORTS = """
[submission]                             # 587 (STARTTLS) and 465 (TLS), on all addresses
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }   # self-signed for now: put a real certificate here
"""

HIGH_PORTS = """
[submission]
listen = ["127.0.0.1:2587"]
listen_tls = ["127.0.0.1:2465"]
listen_plain = ["127.0.0.1:2525"]        # for trying out: AUTH without TLS, on this machine only
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }

[inbound]
listen = ["127.0.0.1:2526"]              # where bounces and complaints come back: port 25 for a real domain
"""

FREE_PORTS = """
[submission]
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_plain = ["127.0.0.1:0"]
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }

[inbound]
listen = ["127.0.0.1:0"]
"""

_TEMPLATE = """\
# Made by `mta init`. Every other key, with its default and what it does, is in the commented mta.toml that comes with
# mta. After a change: `mta check`, then `mta reload`.

hostname = "{hostname}"
data_dir = "data"
{ports}
[secrets]
keyring = {{ file = "keyring.json" }}      # back it up apart from the data: return paths are made with it

[[domain]]
name = "{domain}"
dkim = [
  {{ selector = "r1", key = "dkim/{domain}.r1.pem" }},   # RSA-2048, understood by everyone
  {{ selector = "e1", key = "dkim/{domain}.e1.pem" }},   # Ed25519 beside it
]                                        # publish both: mta dns {domain}

[[account]]
name = "{account}"
password_hash = "{password_hash}"
scram = "{scram}"
domains = ["{domain}"]
"""


@dataclass(frozen=True, slots=True)
class Made:
    """What `mta init` made."""

    config: Path
    account: str
    password: str


def make(folder: Path, hostname: str, domain: str, ports: str, now: datetime) -> Made:
    """Write everything into a folder that holds none of it yet; `ports` is the text of `[submission]`.

    Raises:
        FileExistsError: one of the files is there already; nothing was changed.
        OSError: the folder cannot be written; no file was left there.
    """
    certificate = self_signed(hostname, now=now, days=CERTIFICATE_DAYS)
    password = generate_secret(secrets.token_bytes(24))
    config = _TEMPLATE.format(
        hostname=hostname,
        domain=domain,
        ports=ports,
        account=ACCOUNT,
        password_hash=hash_password(password),
        scram=Verifier.make(password, secrets.token_bytes(SALT_OCTETS)).dump(),
    )
    files = {
        folder / "dkim" / f"{domain}.r1.pem": keys.generate_rsa(),
        folder / "dkim" / f"{domain}.e1.pem": keys.generate_ed25519(),
        folder / "tls" / "key.pem": certificate.key_pem,
        folder / "tls" / "cert.pem": certificate.cert_pem,
        folder / "keyring.json": Keyring.new(secrets.token_bytes(32), now).dump().encode(),
        folder / "mta.toml": config.encode(),
    }
    for path in files:
        if path.exists():
            raise FileExistsError(str(path))
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for path, octets in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            written.append(path)
            path.write_bytes(octets)
    except OSError:
        for path in written:  # so that it can be tried again
            path.unlink()
        raise
    return Made(folder / "mta.toml", ACCOUNT, password)


@click.command("init")
@click.option("--hostname", help="This machine's full name [default: what the system says].")
@click.option("--domain", help="The first domain to send from [default: the hostname without its first label].")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default="here",
    help="Where to put it all.",
)
@click.option("--high-ports", is_flag=True, help="Listen on loopback and ports above 1024, to try it out.")
@json_option
@command
def init(app: App, hostname: str | None, domain: str | None, folder: Path, high_ports: bool, as_json: bool) -> None:
    """Make a working mta.toml with DKIM keys, a certificate and a first account."""
    try:
        host = parse_domain(hostname or socket.getfqdn())
        parent = host.partition(".")[2]
        sending = parse_domain(domain or (parent if "." in parent else host))
    except ValueError as error:
        fail(f"{error}; give --hostname and --domain, such as mail.example.com and example.com", EX_DATAERR)
    if "." not in host or "." not in sending:
        fail(f"{host!r} is no full name; give --hostname, such as mail.example.com", EX_DATAERR)
    try:
        made = make(folder, host, sending, HIGH_PORTS if high_ports else STANDARD_PORTS, datetime.now(UTC))
    except FileExistsError as error:
        fail(f"{error} is there already, and nothing was changed; choose another --dir, or move it away", EX_CANTCREAT)
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror}; choose another --dir, or run as its owner", EX_CANTCREAT)
    output = app.output(json=as_json)
    if output.is_json:
        output.record({"config": str(made.config), "account": made.account, "password": made.password})
        return
    output.line(f"made {made.config} and its keys for {sending}")
    output.line(f"account  {made.account}")
    output.line(f"password {made.password}   (shown this once; only its hash is kept)")
    where = "" if folder == Path() else f" -c {shlex.quote(str(made.config))}"
    output.line()
    output.line(f"next: mta{where} check     validates everything")
    output.line(f"      mta{where} dns       prints the records to publish")
    output.line(f"      mta{where} serve     runs")
