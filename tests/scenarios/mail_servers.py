"""Real servers of other makers, each in a folder of its own: Exim, OpenSMTPD and Dovecot's LMTP.

Exim and Dovecot keep what they take for a@example.net; OpenSMTPD, whose parts that store mail stand at fixed places,
hands it on. All of them refuse everybody else.
"""

import asyncio
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mta.cli.certificate import self_signed
from tests.scenarios.programs import PATIENCE, UNPACKED, free_port, need_root, started

HOST = "mx.example.net"

_EXIM = """\
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
primary_hostname = {host}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
pid_file_path = {folder}/exim.pid
tls_advertise_hosts = *
tls_certificate = {folder}/cert.pem
tls_privatekey = {folder}/key.pem
host_lookup =
rfc1413_query_timeout = 0s
dkim_verify_signers =
keep_environment =
deliver_drop_privilege = true
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = example.net
         local_parts = a
  deny message = No such mailbox
begin routers
all:
  driver = accept
  transport = stored
begin transports
stored:
  driver = appendfile
  maildir_format
  directory = {folder}/mail
  user = Debian-exim
begin retry
* * F,2h,1m
"""
_OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname {host}
action "on" relay host smtp://127.0.0.1:{sink}
match from any for rcpt-to "a@example.net" action "on"
"""
# its folders are where it was told when it was built; here they are its own, and gone with it
_OPENSMTPD_START = """\
for each in /var/spool /var/lib /run; do mount -t tmpfs -o mode=755 tmpfs $each; done
mkdir -p /var/lib/opensmtpd/empty
exec {program} -d -f {folder}/smtpd.conf
"""
_DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log/dovecot.log
protocols = lmtp
listen = 127.0.0.1
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
mail_location = maildir:{folder}/mail
postmaster_address = postmaster@example.net
hostname = {host}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
  default_fields = uid=nobody gid=nogroup home={folder}/mail
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class MailServer:
    """One that runs."""

    folder: Path
    port: int = 0

    @property
    def certificate(self) -> Path:
        """The certificate that it signed itself."""
        return self.folder / "cert.pem"

    @property
    def socket(self) -> Path:
        """Where it listens, if not at a port."""
        return self.folder / "lmtp"

    def stored(self) -> list[bytes]:
        """Return what was stored, with CRLF as it was on the wire."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted((self.folder / "mail" / "new").glob("*"))]

    def log(self) -> str:
        """Return what it logged."""
        logs = [self.folder / "output", *(self.folder / "log").glob("*")]
        return "\n".join(log.read_text("utf-8", "replace") for log in logs if log.exists())


@asynccontextmanager
async def open_exim() -> AsyncIterator[MailServer]:
    """Start an Exim."""
    with _furnished("exim") as server:
        for name in ("spool", "log", "mail", "key.pem"):
            shutil.chown(server.folder / name, "Debian-exim")
        program = UNPACKED / "usr" / "sbin" / "exim4"
        config = server.folder / "exim.conf"
        config.write_text(_EXIM.format(program=program, folder=server.folder, host=HOST, port=server.port))
        async with _answering(server, [program, "-C", config, "-bdf"]):
            yield server


@asynccontextmanager
async def open_opensmtpd(sink: int) -> AsyncIterator[MailServer]:
    """Start an OpenSMTPD, which hands on to a port. Without TLS: Debian's fails each handshake with OpenSSL 3."""
    with _furnished("opensmtpd") as server:
        config = _OPENSMTPD.format(folder=server.folder, host=HOST, port=server.port, sink=sink)
        (server.folder / "smtpd.conf").write_text(config)
        program = shlex.quote(str(UNPACKED / "usr" / "sbin" / "smtpd"))
        script = _OPENSMTPD_START.format(program=program, folder=server.folder)
        async with _answering(server, ["unshare", "--mount", "sh", "-ec", script]):
            yield server


@asynccontextmanager
async def open_dovecot() -> AsyncIterator[MailServer]:
    """Start a Dovecot that speaks LMTP on a local socket."""
    with _furnished("dovecot") as server:
        for name in ("run", "state"):
            (server.folder / name).mkdir()
        shutil.chown(server.folder / "mail", "nobody", "nogroup")
        full = "full@example.net:::::::userdb_mail=maildir:/dev/null/mail"  # no room there, now or ever
        (server.folder / "users").write_text(f"a@example.net:::::::\nb@example.net:::::::\n{full}\n")
        config = server.folder / "dovecot.conf"
        config.write_text(_DOVECOT.format(folder=server.folder, host=HOST))
        async with _answering(server, ["dovecot", "-F", "-c", config], on_socket=True):
            yield server


@contextmanager
def _furnished(name: str) -> Iterator[MailServer]:
    need_root(f"{name} changes users")
    # not in pytest's folder: that is closed to the users that their parts run as
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        folder.chmod(0o755)
        for each in ("spool", "log", "mail"):
            (folder / each).mkdir()
        certificate = self_signed(HOST, now=datetime.now(UTC), days=1)
        (folder / "cert.pem").write_bytes(certificate.cert_pem)
        (folder / "key.pem").write_bytes(certificate.key_pem)
        yield MailServer(folder, free_port())
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def _answering(
    server: MailServer, command: Sequence[str | Path], *, on_socket: bool = False
) -> AsyncIterator[None]:
    async with started(command, server.folder / "output") as process:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await _greets(server, on_socket=on_socket):
                    assert process.returncode is None, server.log()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"it does not answer: {server.log()}") from None
        yield


async def _greets(server: MailServer, *, on_socket: bool) -> bool:
    try:
        if on_socket:
            reader, writer = await asyncio.open_unix_connection(server.socket)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"220 ")
    finally:
        writer.close()
