"""The story that `mta demo` tells: a real server, real submissions, and a receiving world that behaves as it is told.

Everything is on loopback and on free ports. Every sentence that claims something is checked; the story ends well only
if all of it happened.
"""

import asyncio
import email
import email.policy
import json
import smtplib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from pathlib import Path

from mta.cli.certificate import self_signed
from mta.cli.init import ACCOUNT, FREE_PORTS, make
from mta.control.protocol import CommandFailed
from mta.demo.dns import NameServer
from mta.demo.process import PATIENCE, ServerProcess
from mta.demo.receiver import Received, Receiver
from mta.demo.verify import Verified, verify
from mta.dkim.keys import SigningKey
from mta.mail.header import split

HOST, DOMAIN = "mail.example.com", "example.com"
SENDER = f"orders@{DOMAIN}"
_CONFIG = """
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
        self.say(f"  {text}")

    def check(self, happened: bool, text: str) -> None:
        """Claim something, and whether it is true."""
        self.say(f"  {'ok  ' if happened else 'FAIL'} {text}")
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
    published: dict[str, str] = field(default_factory=dict)
    """TXT records by name."""

    def records(self, name: str) -> str | None:
        """Return the TXT record that receivers find."""
        return self.published.get(name)

    async def state_of(self, queue_id: str) -> list[str]:
        """Return the states of a message's deliveries."""
        code, output = await self.server.command("why", queue_id, "--json")
        return [delivery["state"] for delivery in json.loads(output)["deliveries"]] if code == 0 else []

    async def wait_for_state(self, queue_id: str, state: str) -> bool:
        """Wait until all deliveries of a message are in a state; return whether they came to be."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    states = await self.state_of(queue_id)
                    if states and set(states) == {state}:
                        return True
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False


async def tell(say: Callable[[str], None]) -> list[str]:
    """Tell the whole story; return what did not happen."""
    story = Story(say)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mta-demo-")))
        world = await stack.enter_async_context(_receiving_world(folder))
        story.say("mta demo: a server, its clients and a receiving world, all on loopback")
        async with world.server:
            try:
                for chapter in (_delivered, _greylisted, _refused, _rejected_at_the_door, _explained, _measured):
                    await chapter(story, world)
            except (OSError, smtplib.SMTPException, TimeoutError, LookupError, ValueError, CommandFailed) as trouble:
                story.check(False, f"the story broke off: {type(trouble).__name__}: {trouble}")
            if story.failures:
                story.say("\nthe end of the server's log:")
                story.say(await asyncio.to_thread(world.server.tail))
    return story.failures


@asynccontextmanager
async def _receiving_world(folder: Path) -> AsyncIterator[World]:
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
        world = World(folder, made.password, names, inbox, grey, strict, office, server)
        hosts = {"inbox.example": inbox, "grey.example": grey, "strict.example": strict, DOMAIN: office}
        for name, receiver in hosts.items():
            names.add(name, "MX", f"10 mx.{name}.")
            names.add(f"mx.{name}", "A", receiver.host)
        for selector in ("r1", "e1"):
            pem = (folder / "dkim" / f"{DOMAIN}.{selector}.pem").read_bytes()
            key = SigningKey.parse(DOMAIN, selector, pem)
            world.published[key.dns_name] = key.dns_record
        world.grey.greylist(attempts=1)
        world.strict.answer("RCPT", "nobody@strict.example", "550 5.1.1 No such mailbox here")
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


async def _delivered(story: Story, world: World) -> None:
    story.chapter("1. An application submits over STARTTLS with its password")
    queue_id = await asyncio.to_thread(_submit, world, "alice@inbox.example", "Your invoice")
    story.note(f"250 2.0.0 Ok: queued as {queue_id}   (message and recipient are on disk before this reply)")
    (received,) = await world.inbox.wait_for(1, PATIENCE)
    local_part, _, domain = received.reverse_path.strip("<>").partition("@")
    story.check(received.tls, f"mx.inbox.example received it over {received.tls_version}")
    story.check(
        domain == f"bounces.{DOMAIN}" and len(local_part) < 40,
        f"its return path is this delivery's own: {local_part}@{domain}",
    )
    _check_signatures(story, world, received)
    story.check(b"Bcc:" not in split(received.content)[0], "the Bcc field did not leave")
    story.check(await world.wait_for_state(queue_id, "delivered"), "the queue says: delivered")


def _check_signatures(story: Story, world: World, received: Received) -> None:
    signatures = verify(received.content, world.records)
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        found = next((each for each in signatures if each.algorithm == algorithm), Verified(algorithm, "?", "?", False))
        story.check(found.valid, f"DKIM {algorithm}, d={found.domain} s={found.selector}: verified by the receiver")


async def _greylisted(story: Story, world: World) -> None:
    story.chapter("2. A host that greylists: 450 first, accepted on the second attempt")
    queue_id = await asyncio.to_thread(_submit, world, "bob@grey.example", "Your password reset")
    (received,) = await world.grey.wait_for(1, PATIENCE)
    attempts = [command for command in world.grey.commands if command.upper().startswith("MAIL FROM:")]
    paths = {command.partition("<")[2].partition(">")[0] for command in attempts}
    story.check(len(attempts) == 2, f"mx.grey.example saw {len(attempts)} attempts")
    story.check(len(paths) == 1, "both under the same return path, which is what greylisting looks at")
    _check_signatures(story, world, received)
    story.check(await world.wait_for_state(queue_id, "delivered"), "the queue says: delivered")
    world.published["greylisted"] = queue_id


async def _refused(story: Story, world: World) -> None:
    story.chapter("3. A mailbox that does not exist: 550, and the submitter is told")
    queue_id = await asyncio.to_thread(_submit, world, "nobody@strict.example", "Hello?")
    (notification,) = await world.office.wait_for(1, PATIENCE)
    story.check(await world.wait_for_state(queue_id, "bounced"), "the queue says: bounced")
    story.check(notification.reverse_path.strip("<>") == "", "a notification came to the reverse-path, from <>")
    parsed = email.message_from_bytes(notification.content, policy=email.policy.default)
    story.check(
        parsed.get_content_type() == "multipart/report" and _status_of(parsed) == "5.1.1",
        "it is a delivery status notification (RFC 3464): Action failed, Status 5.1.1",
    )
    _check_signatures(story, world, notification)
    body = parsed.get_body(("plain",))
    for line in (body.get_content() if body else "").splitlines()[:12]:
        story.note(f"| {line}")


def _status_of(parsed: EmailMessage) -> str:
    for part in parsed.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            if isinstance(blocks, list) and len(blocks) > 1 and isinstance(blocks[1], Message):
                return str(blocks[1].get("Status", ""))
    return ""


async def _rejected_at_the_door(story: Story, world: World) -> None:
    story.chapter("4. What is refused at the door")
    alice = "alice@inbox.example"
    for what, code, attempt in (
        ("a wrong password", 535, lambda: _submit(world, alice, "x", password="wrong")),  # noqa: S106  wrong on purpose
        ("another company's sender", 550, lambda: _submit(world, alice, "x", sender="ceo@bank.example")),
        ("mail before AUTH", 530, lambda: _submit(world, alice, "x", password=None)),
    ):
        reply = await asyncio.to_thread(_reply_of, attempt)
        story.check(reply.startswith(str(code)), f"{what}: {reply}")


async def _explained(story: Story, world: World) -> None:
    queue_id = world.published["greylisted"]
    story.chapter(f"5. Why did it take so long?   $ mta why {queue_id}")
    code, output = await world.server.command("why", queue_id)
    for line in output.rstrip().splitlines():
        story.note(f"| {line}")
    story.check(code == 0 and "Greylisted" in output and "delivered" in output, "the whole story in one command")


async def _measured(story: Story, world: World) -> None:
    story.chapter("6. What Prometheus sees")
    host, port = world.server.address("http")
    status, body = await _get(host, port, "/metrics")
    lines = [line for line in body.splitlines() if line.startswith("mta_deliveries_total{")]
    for line in lines:
        story.note(f"| {line}")
    story.check(status == 200 and any("delivered" in line for line in lines), f"http://{host}:{port}/metrics answers")
    status, _ = await _get(host, port, "/readyz")
    story.check(status == 200, "/readyz: the store can be written and the listeners are up")


async def _get(host: str, port: int, path: str) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def _submit(world: World, recipient: str, subject: str, *, sender: str = SENDER, password: str | None = "") -> str:
    """Submit a message with Python's own SMTP client; return the queue id."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Orders <{sender}>", recipient, subject
    message["Bcc"] = "archive@example.com"
    message.set_content("Good morning,\n\nthis is a message of the demonstration.\n\n-- \nThe shop\n")
    host, port = world.server.address("submission")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.folder / "tls" / "cert.pem")
    context.check_hostname = False  # the certificate is for the server's name, and we know it by its address
    with smtplib.SMTP(host, port, timeout=PATIENCE) as client:
        client.starttls(context=context)
        if password is not None:
            client.login(ACCOUNT, password or world.password)
        client.ehlo_or_helo_if_needed()
        for code, text in (client.mail(sender), client.rcpt(recipient)):
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.data(message.as_bytes(policy=email.policy.SMTP))
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode().rpartition(" ")[2]


def _reply_of(attempt: Callable[[], str]) -> str:
    """Return the reply that ends an attempt."""
    try:
        return f"250 queued as {attempt()}"
    except smtplib.SMTPResponseException as refused:
        text = refused.smtp_error
        return f"{refused.smtp_code} {text.decode() if isinstance(text, bytes) else text}"
