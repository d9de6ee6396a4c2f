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
from mta.demo.verify import verify
from mta.dkim.keys import SigningKey
from mta.mail.header import split
from mta.queue.model import State

EXPECTED_COUNTS = {'mta_deliveries_total{result="delivered"}': 3.0, 'mta_deliveries_total{result="bounced"}': 1.0}
_LINES_SHOWN = 12
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
        self.say(f"   {text}")

    def quote(self, text: str) -> None:
        """Show what somebody else wrote."""
        for line in text.rstrip().splitlines():
            self.note(f"| {line}".rstrip())

    def check(self, happened: bool, text: str) -> None:
        """Claim something, and whether it is true."""
        self.note(f"{'ok  ' if happened else 'FAIL'}  {text}")
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


def _as_it_is(world: World) -> None:
    """Change nothing."""


async def tell(
    say: Callable[[str], None], meddle: Callable[[World], None] = _as_it_is, patience: float = PATIENCE
) -> list[str]:
    """Tell the whole story; return what did not happen.

    `meddle` may change the receiving world before anything is sent; `patience` is in seconds, for each wait.
    """
    story = Story(say)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mta-demo-")))
        world = await stack.enter_async_context(_receiving_world(folder, patience))
        meddle(world)
        story.say("mta demo: a real server and a real mail client, and receiving hosts that behave as they are told.")
        story.say("All of it is on loopback, in a folder that is removed at the end.")
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
async def _receiving_world(folder: Path, patience: float) -> AsyncIterator[World]:
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
    story.chapter("1. An application sends an invoice, over STARTTLS and with its password")
    queue_id = await asyncio.to_thread(_submit, world, "alice@inbox.example", "Your invoice")
    story.note(f"250 2.0.0 Ok: queued as {queue_id}   (on disk before this was said)")
    (received,) = await world.inbox.wait_for(1, world.patience)
    story.check(received.tls, f"mx.inbox.example received it, over {received.tls_version}")
    _check_signatures(story, world, received)
    local_part, _, domain = received.reverse_path.strip("<>").partition("@")
    story.check(
        domain == f"bounces.{DOMAIN}" and len(local_part) < 40,
        "it left under a return path of its own, which no other delivery has:",
    )
    story.note(f"      {local_part}@{domain}")
    story.check(b"Bcc:" not in split(received.content)[0], "its Bcc field stayed behind")
    await _check_state(story, world, queue_id, "delivered")


def _check_signatures(story: Story, world: World, received: Received) -> None:
    valid = {each.algorithm: each for each in verify(received.content, world.published.get) if each.valid}
    named = " and ".join(f"{algorithm} ({each.selector})" for algorithm, each in valid.items())
    story.check(
        set(valid) == {"rsa-sha256", "ed25519-sha256"} and {each.domain for each in valid.values()} == {DOMAIN},
        f"DKIM signatures for {DOMAIN} that its public keys confirm: {named or 'none'}",
    )


async def _check_state(story: Story, world: World, queue_id: str, state: str) -> None:
    story.check(await world.wait_for_state(queue_id, state), f"the queue says: {state}")


async def _greylisted(story: Story, world: World) -> None:
    story.chapter("2. A password reset, to a host that greylists: it defers whom it does not know yet")
    queue_id = world.deferred = await asyncio.to_thread(_submit, world, "bob@grey.example", "Your password reset")
    (received,) = await world.grey.wait_for(1, world.patience)
    attempts = [command for command in world.grey.commands if command.upper().startswith("MAIL FROM:")]
    paths = {command.partition("<")[2].partition(">")[0] for command in attempts}
    story.check(len(attempts) == 2, f"mx.grey.example saw {len(attempts)} attempts, and accepted the last one")
    story.check(len(paths) == 1, "both came under the same return path, or the second would have been unknown again")
    _check_signatures(story, world, received)
    await _check_state(story, world, queue_id, "delivered")


async def _refused(story: Story, world: World) -> None:
    story.chapter("3. A mailbox that does not exist: refused for good, and the submitter is told")
    queue_id = await asyncio.to_thread(_submit, world, "nobody@strict.example", "Hello?")
    (notification,) = await world.office.wait_for(1, world.patience)
    await _check_state(story, world, queue_id, "bounced")
    story.check(
        notification.reverse_path.strip("<>") == "" and notification.recipients == (SENDER,),
        f"a notification came to {SENDER}, from <>, so that nobody answers it",
    )
    parsed = email.message_from_bytes(notification.content, policy=email.policy.default)
    story.check(
        parsed.get_content_type() == "multipart/report" and _told_of(parsed) == ("failed", "5.1.1"),
        "programs can read it (RFC 3464): Action: failed, Status: 5.1.1",
    )
    _check_signatures(story, world, notification)
    body = parsed.get_body(("plain",))
    text = body.get_content() if body else ""
    story.check("Why: " in text, "and so can people:")
    story.quote("\n".join(text.splitlines()[:_LINES_SHOWN]))


def _told_of(parsed: EmailMessage) -> tuple[str, str]:
    """Return action and status of the first recipient that a notification reports on."""
    for part in parsed.walk():
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            if isinstance(blocks, list) and len(blocks) > 1 and isinstance(blocks[1], Message):
                return str(blocks[1].get("Action", "")), str(blocks[1].get("Status", ""))
    return "", ""


async def _rejected_at_the_door(story: Story, world: World) -> None:
    story.chapter("4. What is refused at the door")
    alice = "alice@inbox.example"
    for what, code, attempt in (
        ("a wrong password", 535, lambda: _submit(world, alice, "x", password="wrong")),  # noqa: S106  wrong on purpose
        ("no password", 530, lambda: _submit(world, alice, "x", password=None)),
        ("another's domain", 550, lambda: _submit(world, alice, "x", sender="ceo@bank.example")),
    ):
        reply = await asyncio.to_thread(_reply_of, attempt)
        story.check(reply.startswith(str(code)), f"{what:<17} {reply}")


async def _explained(story: Story, world: World) -> None:
    story.chapter("5. Why did the password reset take so long? One command tells")
    story.note(f"$ mta why {world.deferred}")
    code, output = await world.server.command("why", world.deferred)
    story.quote(output)
    story.check(
        code == 0 and "Greylisted" in output and "delivered" in output,
        "what the host said, and when it was tried again",
    )


async def _measured(story: Story, world: World) -> None:
    story.chapter("6. What Prometheus sees")
    host, port = world.server.address("http")
    story.note(f"$ curl http://{host}:{port}/metrics")
    counts = await _counts(world)
    story.quote("\n".join(f"{name} {count:g}" for name, count in counts.items() if count))
    story.check(counts == EXPECTED_COUNTS, "every delivery of this story was counted once, the notification too")
    status, _ = await _get(host, port, "/readyz")
    story.check(status == 200, "/readyz: the store can be written and the listeners are up")


async def _counts(world: World) -> dict[str, float]:
    """Return what came of the deliveries, once nothing is missing any more or patience ends."""
    host, port = world.server.address("http")
    counts: dict[str, float] = {}
    for _ in range(int(world.patience / 0.1)):
        _, body = await _get(host, port, "/metrics")
        lines = (line.rsplit(" ", 1) for line in body.splitlines() if line.startswith("mta_deliveries_total{"))
        counts = {name: float(count) for name, count in lines if float(count)}
        if sum(counts.values()) >= sum(EXPECTED_COUNTS.values()):
            break
        await asyncio.sleep(0.1)
    return counts


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
