"""The stage of the demonstration: a server and the hosts around it, and how what happens is told and checked."""

import asyncio
import email
import email.policy
import json
import smtplib
import ssl
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from pathlib import Path

from mta.cli.certificate import self_signed
from mta.cli.init import ACCOUNT, FREE_PORTS, make
from mta.demo.dns import NameServer
from mta.demo.process import PATIENCE, ServerProcess
from mta.demo.receiver import Received, Receiver
from mta.demo.verify import verify
from mta.dkim.keys import SigningKey
from mta.queue.model import State

_WIDTH = 108
HOST, DOMAIN = "mail.example.com", "example.com"
SENDER = f"orders@{DOMAIN}"
GONE = tuple(f"gone{number}@strict.example" for number in (1, 2, 3))
"""Mailboxes that do not exist, beside nobody@."""
_CONFIG = """
workers = 1
[http]
listen = ["127.0.0.1:0"]
[queue]
retry = ["1s", "2s"]
min_free = "0.1%"
stop_grace = "5s"
[delivery]
resolvers = ["{resolver}"]
port = {port}
allow_networks = ["127.0.0.0/8"]
[reputation]
min_volume = 20
warn_min_volume = 10
[log]
format = "json"
"""


@dataclass
class Story:
    """Tells, and remembers what did not happen."""

    say: Callable[[str], None]
    failures: list[str] = field(default_factory=list)

    def chapter(self, title: str) -> None:
        """Begin a part."""
        self.say(f"\n{title}")

    def note(self, text: str) -> None:
        """Tell something."""
        self.say(f"   {text}")

    def quote(self, text: str) -> None:
        """Show what somebody else wrote."""
        for line in text.rstrip().splitlines():
            shown = [line] if len(line) <= _WIDTH else textwrap.wrap(line, _WIDTH, subsequent_indent="    ")
            for part in shown:
                self.note(f"| {part}".rstrip())

    def check(self, happened: bool, text: str) -> None:
        """Claim something, and whether it is true."""
        first, *others = textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
        self.note(f"{'ok  ' if happened else 'FAIL'}  {first}")
        for line in others:
            self.note(f"      {line}")
        if not happened:
            self.failures.append(text)


@dataclass
class World:
    """The server, and what stands around it."""

    folder: Path
    password: str
    names: NameServer
    inbox: Receiver
    """mx.inbox.example: takes everything, over TLS."""
    grey: Receiver
    """mx.grey.example: defers whom it does not know."""
    strict: Receiver
    """mx.strict.example: refuses whom it does not have."""
    office: Receiver
    """The company's own mailboxes: where notifications come back to."""
    server: ServerProcess
    patience: float
    """Seconds that anything may take."""
    published: dict[str, str] = field(default_factory=dict)
    """TXT records by name."""
    deferred: str = ""
    """The queue id of the message that was greylisted."""

    async def state_of(self, queue_id: str) -> list[str]:
        """Return the states of a message's deliveries."""
        code, output = await self.server.command("why", queue_id, "--json")
        return [delivery["state"] for delivery in json.loads(output)["deliveries"]] if code == 0 else []

    async def wait_for_state(self, queue_id: str, state: str) -> bool:
        """Wait until all deliveries of a message are in a state; return whether they came to be."""
        try:
            async with asyncio.timeout(self.patience):
                while True:
                    states = set(await self.state_of(queue_id))
                    if states == {state}:
                        return True
                    if states and all(State(each).is_final for each in states):
                        return False
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False


@asynccontextmanager
async def receiving_world(folder: Path, patience: float) -> AsyncIterator[World]:
    made = make(folder, HOST, DOMAIN, FREE_PORTS, datetime.now(UTC))
    tls = _context(folder, "mx.inbox.example")
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(NameServer())
        inbox = await stack.enter_async_context(Receiver("127.0.0.1", hostname="mx.inbox.example", tls=tls))
        # one port for all, as in the real world; each host has an address of its own
        grey, strict, office = [
            await stack.enter_async_context(Receiver(f"127.0.0.{i}", inbox.port, hostname=f"mx.{name}", tls=tls))
            for i, name in ((2, "grey.example"), (3, "strict.example"), (4, DOMAIN))
        ]
        server = ServerProcess(made.config)
        world = World(folder, made.password, names, inbox, grey, strict, office, server, patience)
        hosts = {"inbox.example": inbox, "grey.example": grey, "strict.example": strict, DOMAIN: office}
        for name, receiver in hosts.items():
            names.add(name, "MX", f"10 mx.{name}.")
            names.add(f"mx.{name}", "A", receiver.host)
        for selector in ("r1", "e1"):
            pem = (folder / "dkim" / f"{DOMAIN}.{selector}.pem").read_bytes()
            key = SigningKey.parse(DOMAIN, selector, pem)
            world.published[key.dns_name] = key.dns_record
        world.grey.greylist(attempts=1)
        for nobody in ("nobody@strict.example", *GONE):
            world.strict.answer("RCPT", nobody, "550 5.1.1 No such mailbox here")
        (folder / "mta.d").mkdir()
        (folder / "mta.d" / "demo.toml").write_text(_CONFIG.format(resolver=names.address, port=inbox.port))
        yield world


def _context(folder: Path, name: str) -> ssl.SSLContext:
    made = self_signed(name, now=datetime.now(UTC), days=1)
    cert, key = folder / "receiver-cert.pem", folder / "receiver-key.pem"
    cert.write_bytes(made.cert_pem)
    key.write_bytes(made.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def check_signatures(story: Story, world: World, received: Received) -> None:
    valid = {each.algorithm: each for each in verify(received.content, world.published.get) if each.valid}
    named = " and ".join(f"{algorithm} ({each.selector})" for algorithm, each in valid.items())
    story.check(
        set(valid) == {"rsa-sha256", "ed25519-sha256"} and {each.domain for each in valid.values()} == {DOMAIN},
        f"DKIM signatures for {DOMAIN} that its public keys confirm: {named or 'none'}",
    )


async def check_state(story: Story, world: World, queue_id: str, state: str) -> None:
    story.check(await world.wait_for_state(queue_id, state), f"the queue says: {state}")


def told_of(parsed: EmailMessage) -> tuple[str, str]:
    """Return action and status of the first recipient that a notification reports on."""
    for part in parsed.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            if isinstance(blocks, list) and len(blocks) > 1 and isinstance(blocks[1], Message):
                return str(blocks[1].get("Action", "")), str(blocks[1].get("Status", ""))
    return "", ""


async def get(host: str, port: int, path: str) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def submit(
    world: World,
    recipient: str | Sequence[str],
    subject: str,
    *,
    sender: str = SENDER,
    password: str | None = "",
    login: str = ACCOUNT,
) -> str:
    """Submit a message with Python's own SMTP client; return the queue id."""
    recipients = [recipient] if isinstance(recipient, str) else list(recipient)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Orders <{sender}>", recipients[0], subject
    message["Bcc"] = "archive@example.com"
    message.set_content("Good morning,\n\nthis is a message of the demonstration.\n\n-- \nThe shop\n")
    host, port = world.server.address("submission")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.folder / "tls" / "cert.pem")
    context.check_hostname = False  # the certificate is for the server's name, and we know it by its address
    with smtplib.SMTP(host, port, timeout=PATIENCE) as client:
        client.starttls(context=context)
        if password is not None:
            client.login(login, password or world.password)
        client.ehlo_or_helo_if_needed()
        for code, text in _envelope(client, sender, recipients):
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.data(message.as_bytes(policy=email.policy.SMTP))
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode().rpartition(" ")[2]


def _envelope(client: smtplib.SMTP, sender: str, recipients: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    yield client.mail(sender)
    for recipient in recipients:
        yield client.rcpt(recipient)


def bring_back(world: World, address: str, content: bytes) -> str:
    """Bring a report to the server's inbound door as another mail server would; return the reply that ends it."""
    host, port = world.server.address("inbound")
    with smtplib.SMTP(host, port, timeout=PATIENCE, local_hostname="mx.inbox.example") as client:
        client.ehlo()
        for code, text in (client.mail(""), client.rcpt(address)):
            if code >= 400:
                return f"{code} {text.decode()}"
        code, text = client.data(content)
    return f"{code} {text.decode()}"


def reply_of(attempt: Callable[[], str]) -> str:
    """Return the reply that ends an attempt."""
    try:
        return f"250 queued as {attempt()}"
    except smtplib.SMTPResponseException as refused:
        text = refused.smtp_error
        return f"{refused.smtp_code} {text.decode() if isinstance(text, bytes) else text}"
