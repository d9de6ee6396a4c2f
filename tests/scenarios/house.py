"""A real server in a folder of its own, with a name server and a receiver beside it: where scenarios happen."""

import asyncio
import json
import os
import smtplib
import sqlite3
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path
from typing import Any

from mta.cli.init import ACCOUNT, FREE_PORTS, make
from mta.demo.dns import NameServer
from mta.demo.process import ServerProcess
from mta.demo.receiver import Receiver

SENDER = "app@example.com"
SOAK = bool(os.environ.get("MTA_SOAK"))
"""Whether scenarios run in their long form: `make soak`."""
NO_LOGIN = f"""
[submission]
trusted_networks = ["127.0.0.0/8"]
trusted_account = "{ACCOUNT}"
"""
"""Configuration for crowds: what a password costs would be most of what happens."""
PATIENCE = 60.0
"""Seconds that anything may take which is sure to come: the machine may be busy."""
Step = Callable[[], tuple[int, bytes]]
"""A command and its reply."""

_CONFIG = """
workers = {workers}
[http]
listen = ["127.0.0.1:0"]
[queue]
retry = {retry}
back_off = {back_off}
min_free = "{min_free}"
stop_grace = "5s"
[delivery]
resolvers = ["{resolver}"]
port = {port}
allow_networks = ["127.0.0.0/8"]
[log]
format = "json"
{more}
"""


@dataclass
class House:
    """Everything a scenario needs."""

    folder: Path
    password: str
    server: ServerProcess
    names: NameServer
    sink: Receiver
    """Takes the mail for example.net, example.org and example.com."""

    @property
    def config(self) -> Path:
        """The part of the configuration that scenarios change."""
        return self.folder / "mta.d" / "scenario.toml"

    def context(self) -> ssl.SSLContext:
        """Return a client's context that trusts the server's certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "tls" / "cert.pem"))
        context.check_hostname = False  # the certificate is for a name, and tests know the server by its address
        return context

    def connect(self, login: str = ACCOUNT) -> smtplib.SMTP:
        """Return a client that is logged in over STARTTLS. Blocks."""
        client = smtplib.SMTP(*self.server.address("submission"), timeout=20)
        client.starttls(context=self.context())
        client.login(login, self.password)
        return client

    async def submit(
        self, *recipients: str, content: bytes | None = None, sender: str = SENDER, login: str = ACCOUNT
    ) -> str:
        """Submit a message; return its queue id."""
        octets = message(recipients[:1]) if content is None else content
        return await asyncio.to_thread(self._submit, recipients, octets, sender, login)

    def _submit(self, recipients: tuple[str, ...], octets: bytes, sender: str, login: str) -> str:
        with self.connect(login) as client:
            return send(client, sender, recipients, octets)

    async def refused(self, *recipients: str, login: str = ACCOUNT) -> str:
        """Submit a message that will be refused; return the reply."""
        try:
            queue_id = await self.submit(*recipients, login=login)
        except smtplib.SMTPResponseException as refusal:
            text = refusal.smtp_error
            return f"{refusal.smtp_code} {text.decode() if isinstance(text, bytes) else text}"
        raise AssertionError(f"it was accepted, as {queue_id}")

    async def bring(self, address: str, content: bytes, sender: str = "") -> str:
        """Bring something back as another mail server would; return the reply that ends it."""
        return await asyncio.to_thread(self._bring, address, content, sender)

    def _bring(self, address: str, content: bytes, sender: str) -> str:
        with smtplib.SMTP(*self.server.address("inbound"), timeout=20, local_hostname="mx.example.net") as client:
            client.ehlo()
            steps: list[Step] = [partial(client.mail, sender), partial(client.rcpt, address)]
            steps.append(partial(client.data, content))
            for step in steps:
                code, text = step()
                if code != 250:
                    break
            return f"{code} {text.decode()}"

    async def why(self, text: str) -> list[dict[str, Any]]:
        """Return what `mta why --json` tells of messages."""
        return [row for row in await self.ask("why", text) if "queue_id" in row]

    async def states(self, queue_id: str) -> list[str]:
        """Return the states of a message's deliveries."""
        stories = await self.why(queue_id)
        return [delivery["state"] for story in stories for delivery in story["deliveries"]]

    async def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the rows that a command prints as JSON Lines; none when its answer is negative."""
        code, output = await self.server.command(*arguments, "--json")
        assert code in (0, 1), output
        return [json.loads(line) for line in output.splitlines()] if code == 0 else []

    async def happened(self) -> list[str]:
        """Return the types of all events, in order."""
        return [event["type"] for event in await self.ask("events")]

    async def suppressed(self) -> list[str]:
        """Return the addresses that are suppressed."""
        return [entry["address"] for entry in await self.ask("suppression", "list")]

    async def wait_for_states(self, queue_id: str, *wanted: str) -> None:
        """Wait until a message's deliveries are in some states."""
        await self.until(lambda: self.states(queue_id), sorted(wanted))

    async def wait_for_events(self, queue_id: str, *wanted: str) -> None:
        """Wait until just these have happened to a message since it was accepted, whatever its states are by now."""
        await self.until(lambda: self._happened_to(queue_id, set(wanted)), sorted(wanted))

    async def _happened_to(self, queue_id: str, among: set[str]) -> list[str]:
        events = await self.ask("events")
        return [event["type"] for event in events if event.get("queue_id") == queue_id and event["type"] in among]

    async def until(self, question: Callable[[], Any], wanted: list[str]) -> None:
        """Ask until the sorted answer is what is wanted."""
        answer: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while (answer := sorted(await question())) != wanted:  # noqa: ASYNC110  it is another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{answer} and not {wanted}; the log ends with:\n{self.server.tail()}") from None

    async def see(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; `what` it is, is told when it does not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not is_so():  # noqa: ASYNC110  it is another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not so: {what}; the log ends with:\n{self.server.tail()}") from None

    def rows(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Read from the store beside the server: a command of its own would cost a process each time."""
        with closing(sqlite3.connect(self.folder / "data" / "queue.db")) as store:
            return store.execute(statement, values).fetchall()

    def open_deliveries(self) -> int:
        """Return how many deliveries are not at their end."""
        ((count,),) = self.rows("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'active', 'held')")
        return int(count)

    def logged(self, text: str) -> int:
        """Return how often something stands in the log."""
        return self.server.log.read_text("utf-8", "replace").count(text)


def message(recipients: tuple[str, ...], subject: str = "A test", body: str = "Good morning.\n") -> bytes:
    """Return a message as an application's library makes it."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = f"The App <{SENDER}>", ", ".join(recipients), subject
    made.set_content(body)
    return made.as_bytes(policy=SMTP)


def send(client: smtplib.SMTP, sender: str, recipients: tuple[str, ...], octets: bytes) -> str:
    """Submit over a connection that is logged in; return the queue id."""
    steps: list[Step] = [partial(client.mail, sender), *(partial(client.rcpt, each) for each in recipients)]
    text = b""
    steps.append(partial(client.data, octets))
    for step in steps:
        code, text = step()
        if code != 250:
            client.rset()
            raise smtplib.SMTPResponseException(code, text)
    return text.decode().rpartition(" ")[2]


@asynccontextmanager
async def open_house(
    folder: Path,
    *,
    retry: str = '["1s", "2s"]',
    back_off: str = '{ first = "1s", max = "2s" }',
    min_free: str = "0.1%",
    more: str = "",
    start: bool = True,
    workers: int = 1,
    prefix: Sequence[str] = (),
    names: NameServer | None = None,
) -> AsyncIterator[House]:
    """Build it, and start the server unless told not to.

    `more` is configuration, `prefix` a command that runs the server, `names` a name server with a will of its own.
    """
    made = make(folder, "mail.example.com", "example.com", FREE_PORTS, datetime.now(UTC))
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(names or NameServer())
        sink = await stack.enter_async_context(Receiver())
        for name in ("example.net", "example.org", "example.com"):
            names.add(name, "MX", f"10 mx.{name}.")
            names.add(f"mx.{name}", "A", sink.host)
        house = House(folder, made.password, ServerProcess(made.config, prefix), names, sink)
        house.config.parent.mkdir()
        text = _CONFIG.format(
            workers=workers,
            retry=retry,
            back_off=back_off,
            min_free=min_free,
            resolver=names.address,
            port=sink.port,
            more=more,
        )
        house.config.write_text(text)
        if start:
            await stack.enter_async_context(house.server)
        yield house
