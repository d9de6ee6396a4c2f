"""A Postfix of its own: configuration, queue and mailboxes in a folder, which receives mail for example.net.

It takes a@, b@ and late@; where it sends on what it takes can be told, and so what it fails to deliver.
"""

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from mta.cli.certificate import self_signed
from tests.scenarios.programs import free_port, need_root, run

PATIENCE = 20.0
"""Seconds that its start or its end may take."""
HOST = "mx.example.net"

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {host}
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.1/32
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_delay_reject = yes
virtual_mailbox_domains = example.net
virtual_mailbox_maps = inline:{{ {{ a@example.net = a/ }}, {{ b@example.net = b/ }}, {{ late@example.net = late/ }} }}
transport_maps = {transports}
virtual_mailbox_base = {folder}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/etc/cert.pem
smtpd_tls_key_file = {folder}/etc/key.pem
smtpd_tls_loglevel = 1
tls_random_source = dev:/dev/urandom
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
in_flow_delay = 0
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Takes mail for a@, b@ and late@example.net while it runs, with STARTTLS."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it in the foreground, and wait until it answers."""
        code = (await run("postfix", "-c", self._folder / "etc", "check")).code
        assert code == 0, self.log()
        daemons = (await run("postconf", "-c", self._folder / "etc", "-h", "daemon_directory")).output.strip()
        self._process = await asyncio.create_subprocess_exec(
            Path(daemons) / "master", "-c", self._folder / "etc", start_new_session=True
        )
        async with asyncio.timeout(PATIENCE):
            while not await self._answers():
                assert self._process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it, and its children with it."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def mailbox(self, name: str) -> list[bytes]:
        """Return what was stored for a recipient, with CRLF as it was on the wire."""
        new = self._folder / "mail" / name / "new"
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(new.glob("*"))]

    @property
    def certificate(self) -> Path:
        """The certificate that it signed itself."""
        return self._folder / "etc" / "cert.pem"

    def log(self) -> str:
        """Return its log."""
        log = self._folder / "log" / "mail.log"
        return log.read_text("utf-8", "replace") if log.exists() else "Postfix has not logged anything"

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    return (await reader.readline()).startswith(b"220 ")
                finally:
                    writer.close()
        except OSError:
            return False


def _furnish(folder: Path, port: int, transports: Mapping[str, tuple[str, int]], more: str) -> None:
    folder.chmod(0o755)
    for name in ("spool", "data", "log", "etc", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", "nobody")
    nobody = pwd.getpwnam("nobody")
    certificate = self_signed(HOST, now=datetime.now(UTC), days=1)
    (folder / "etc" / "cert.pem").write_bytes(certificate.cert_pem)
    (folder / "etc" / "key.pem").write_bytes(certificate.key_pem)
    told = ", ".join(f"{{ {whose} = smtp:[{host}]:{to} }}" for whose, (host, to) in transports.items())
    main = _MAIN.format(
        folder=folder,
        host=HOST,
        uid=nobody.pw_uid,
        gid=nobody.pw_gid,
        transports=f"inline:{{ {told} }}" if told else "",
    )
    (folder / "etc" / "main.cf").write_text(main + more)
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port))


@asynccontextmanager
async def open_postfix(
    port: int | None = None, transports: Mapping[str, tuple[str, int]] | None = None, more: str = ""
) -> AsyncIterator[Postfix]:
    """Build one and start it. `transports`: hosts and ports that the mail of addresses and domains is sent on to;
    `more`: lines of its configuration, which hold against those before."""
    need_root("Postfix's master changes users")
    # not in pytest's folder: that is closed to the users that Postfix's parts run as
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    try:
        postfix = Postfix(folder, port or free_port())
        _furnish(folder, postfix.port, transports or {}, more)
        try:
            await postfix.start()
            yield postfix
        finally:
            await postfix.stop()
    finally:
        shutil.rmtree(folder)
