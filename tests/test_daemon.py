"""One worker's life: what a reload changes and keeps, and how it stops."""

import asyncio
import io
import json
import logging
import random
import shutil
import signal
import smtplib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.cli.certificate import self_signed
from mta.cli.init import FREE_PORTS, make
from mta.config.load import load
from mta.control.client import Client
from mta.control.protocol import CommandFailed
from mta.daemon import Daemon
from mta.demo.receiver import Behaviour
from mta.dkim.keys import generate_ed25519
from mta.errors import ConfigError
from mta.events import Event
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.scenarios.house import SENDER, House, message, open_house

MORE = '[http]\nlisten = ["127.0.0.1:0"]\n[queue]\nmin_free = "0.1%"\nstop_grace = "5s"\n'


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("daemon")
    make(folder, "mail.example.com", "example.com", FREE_PORTS, datetime.now(UTC))
    return folder


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(made, tmp_path / "site"))
    add(folder, MORE)
    return folder


def add(site: Path, text: str) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text() + text)


def edit(site: Path, old: str, new: str) -> None:
    config = site / "mta.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


@dataclass
class Running:
    """A daemon in this process, and the way to ask it."""

    daemon: Daemon
    client: Client
    site: Path

    async def ask(self, command: str, **arguments: object) -> dict[str, object]:
        return await asyncio.to_thread(lambda: self.client.one(command, **arguments))

    async def get(self, path: str) -> int:
        host, port = str(self.daemon.status()["listeners"]["http"][0]).rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])


@asynccontextmanager
async def serving(site: Path) -> AsyncIterator[Running]:
    """Run one until the block ends, or longer where it was stopped in it."""
    daemon = Daemon(load(site / "mta.toml", {}), io.StringIO(), io.StringIO())
    running = Running(daemon, Client(site / "data" / "control.sock"), site)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(daemon.run())
        while not task.done():
            try:
                await running.ask("status")
                break
            except CommandFailed:
                await asyncio.sleep(0.02)
        yield running
        daemon.stop()


@pytest.fixture
async def running(site: Path) -> AsyncIterator[Running]:
    async with serving(site) as running:
        yield running


async def test_whoever_gets_an_answer_may_use_every_listener(running: Running) -> None:
    listeners = (await running.ask("status"))["listeners"]
    assert isinstance(listeners, dict)
    assert sorted(listeners) == ["http", "inbound", "submission", "submission_plain", "submission_tls"]
    for addresses in listeners.values():
        (address,) = addresses
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()


async def test_it_is_ready_while_it_serves(running: Running) -> None:
    assert await running.get("/readyz") == 200


async def test_it_leaves_no_socket_and_frees_its_ports(site: Path) -> None:
    async with serving(site) as running:
        address = str(running.daemon.status()["listeners"]["submission"][0])
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    assert not (site / "data" / "control.sock").exists()


async def test_what_cannot_be_used_is_refused_at_the_start(site: Path) -> None:
    (site / "keyring.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"keyring\.json"):
        await Daemon(load(site / "mta.toml", {}), io.StringIO(), io.StringIO()).run()
    assert sorted(path.name for path in (site / "data").iterdir()) == []


async def test_before_it_runs_it_asks_for_patience(site: Path) -> None:
    daemon = Daemon(load(site / "mta.toml", {}), io.StringIO(), io.StringIO())
    with pytest.raises(CommandFailed, match="still starting") as refused:
        daemon.status()
    assert refused.value.exit_code == 75


async def test_a_reload_with_nothing_new_says_so(running: Running) -> None:
    done = await running.daemon.reload()
    assert (done.applied, done.needs_restart, done.warnings) == ((), (), ())


async def test_a_reload_takes_new_accounts_and_forgets_old_ones(running: Running) -> None:
    edit(running.site, 'name = "app"', 'name = "shop"')
    done = await running.daemon.reload()
    assert done.applied == ("account",)
    assert [account.name for account in running.daemon.directory] == ["shop"]


@pytest.mark.parametrize(
    "mistake",
    [
        "[queues]\n",
        '[[domain]]\nname = "b.example"\ndkim = [{ selector = "x", key = "nowhere.pem" }]\n',
        '[[domain]]\nname = "b.example"\ndkim = [{ selector = "x", key = "broken.pem" }]\n',
    ],
    ids=["unknown key", "missing file", "a file that is no key"],
)
async def test_a_reload_that_fails_keeps_all_of_the_old(running: Running, mistake: str) -> None:
    broken = running.site / "broken.pem"
    broken.write_text("-----BEGIN PRIVATE KEY-----\n")
    broken.chmod(0o600)
    before = running.daemon.directory, running.daemon.door()
    edit(running.site, 'name = "app"', 'name = "shop"')
    add(running.site, mistake)
    with pytest.raises(ConfigError):
        await running.daemon.reload()
    assert (running.daemon.directory, running.daemon.door()) == before
    assert not running.daemon.sends_for("b.example")


async def test_a_reload_sees_what_changed_inside_of_files(running: Running) -> None:
    before = running.daemon.door()
    (running.site / "dkim" / "example.com.e1.pem").write_bytes(generate_ed25519())
    renewed = self_signed("mail.example.com", now=datetime.now(UTC), days=90)
    (running.site / "tls" / "cert.pem").write_bytes(renewed.cert_pem)
    (running.site / "tls" / "key.pem").write_bytes(renewed.key_pem)
    assert (await running.daemon.reload()).applied == ("certificate", "DKIM keys")
    after = running.daemon.door()
    assert before is not None
    assert after is not None
    assert (after.port, after.certificate_sha256 != before.certificate_sha256) == (before.port, True)


async def test_a_reload_applies_limits_to_clients_that_come_from_now_on(running: Running) -> None:
    host, port = str(running.daemon.status()["listeners"]["submission"][0]).rsplit(":", 1)

    def size_limit() -> str:
        with smtplib.SMTP(host, int(port), timeout=10) as client:
            client.ehlo()
            return client.esmtp_features["size"]

    assert await asyncio.to_thread(size_limit) == "25000000"
    edit(running.site, "[submission]\n", '[submission]\nmax_message_size = "1MB"\n')
    assert (await running.daemon.reload()).applied == ("submission.max_message_size",)
    assert await asyncio.to_thread(size_limit) == "1000000"


async def test_what_needs_a_restart_is_named_until_there_was_one(running: Running) -> None:
    edit(running.site, 'hostname = "mail.example.com"', 'hostname = "other.example.com"')
    edit(running.site, 'listen_tls = ["127.0.0.1:0"]', "listen_tls = []")
    for _ in range(2):
        assert (await running.daemon.reload()).needs_restart == ("hostname", "submission.listen_tls")
    assert running.daemon.status()["listeners"]["submission_tls"] != []


async def test_reloads_at_the_same_time_end_with_the_last_configuration(running: Running) -> None:
    first = asyncio.create_task(running.daemon.reload())
    edit(running.site, 'name = "app"', 'name = "shop"')
    await asyncio.gather(first, running.daemon.refresh_accounts(), running.daemon.reload())
    assert [account.name for account in running.daemon.directory] == ["shop"]


async def test_an_account_of_the_store_is_there_after_a_start(site: Path) -> None:
    class Nobody:
        def observe(self, event: Event) -> None:
            """Nobody looks."""

    path = str(site / "data" / "queue.db")
    async with SqliteStore.open(path, FakeClock(), min_free=0.0, dice=random.Random(1)) as store:
        data = json.dumps({"name": "shop", "domains": ["example.com"]})
        await store.desk(Nobody()).put_account("shop", data, "uid 0", "added")
    async with serving(site) as running:
        assert {account.name for account in running.daemon.directory} == {"app", "shop"}


@pytest.mark.parametrize(
    ("listen", "tls"),
    [("", "starttls"), ("listen", "implicit"), ("listen_tls", "starttls"), ("listen listen_tls", "none")],
)
async def test_our_own_commands_use_the_best_door_there_is(site: Path, listen: str, tls: str) -> None:
    for name in listen.split():
        edit(site, f'{name} = ["127.0.0.1:0"]', f"{name} = []")
    async with serving(site) as running:
        door = running.daemon.door()
    assert door is not None
    assert (door.tls, door.host, door.certificate_sha256 is None) == (tls, "127.0.0.1", tls == "none")


async def test_a_listener_on_all_addresses_is_reached_over_loopback(site: Path) -> None:
    edit(site, 'listen = ["127.0.0.1:0"]\nlisten_tls', 'listen = ["0.0.0.0:0"]\nlisten_tls')
    async with serving(site) as running:
        door = running.daemon.door()
    assert door is not None
    assert door.host == "127.0.0.1"


async def test_without_a_listener_there_is_no_door(site: Path) -> None:
    for name in ("listen_plain", "listen_tls"):
        edit(site, f'{name} = ["127.0.0.1:0"]', f"{name} = []")
    edit(site, 'listen = ["127.0.0.1:0"]\nlisten_tls', "listen = []\nlisten_tls")
    async with serving(site) as running:
        assert running.daemon.door() is None


# --- as a process of its own, under signals


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "house", start=False) as house:
        house.config.write_text(house.config.read_text().replace('stop_grace = "5s"', 'stop_grace = "60s"'))
        await house.server.start()
        try:
            yield house
        finally:
            await house.server.kill()


async def ends(house: House) -> int:
    """Return the exit code, which has to come long before the grace is over."""
    async with asyncio.timeout(20):
        while (code := house.server.exit_code) is None:  # noqa: ASYNC110  it is another process
            await asyncio.sleep(0.02)
    return code


async def logged(house: House, text: str) -> None:
    async with asyncio.timeout(20):
        while text not in house.server.tail(1000):  # noqa: ASYNC110  it is another process
            await asyncio.sleep(0.02)


async def test_hup_reloads_and_a_mistake_in_it_ends_nothing(house: House) -> None:
    before = house.config.read_text()
    house.config.write_text(before + "[queues]\n")
    house.server.signal(signal.SIGHUP)
    await logged(house, "the configuration was not reloaded, the old one stays in force")
    house.config.write_text(before.replace('"1s"', '"3s"'))
    house.server.signal(signal.SIGHUP)
    await logged(house, "configuration reloaded: queue.retry")


async def test_usr1_tells_the_state(house: House) -> None:
    house.server.signal(signal.SIGUSR1)
    await logged(house, "state: ")
    line = next(line for line in house.server.tail().splitlines() if "state: " in line)
    state = json.loads(json.loads(line)["message"].removeprefix("state: "))
    assert (state["hostname"], state["clients"], state["in_hand"]) == ("mail.example.com", 0, 0)


async def test_term_ends_it_well_at_once_when_nothing_is_under_way(house: House) -> None:
    house.server.signal(signal.SIGTERM)
    assert await ends(house) == 0
    assert '"message":"stopped"' in house.server.tail()


async def test_a_second_term_does_not_wait_for_an_answer_to_the_dot(house: House) -> None:
    house.sink.answer("DOT", None, Behaviour.HANG)
    await house.submit("a@example.net")
    async with asyncio.timeout(20):
        while "DATA" not in house.sink.commands:  # noqa: ASYNC110  it is another process
            await asyncio.sleep(0.02)
    house.server.signal(signal.SIGTERM)
    await logged(house, "stopping; 1 deliveries are in hand")
    await asyncio.sleep(0.3)
    assert house.server.exit_code is None
    house.server.signal(signal.SIGTERM)
    assert await ends(house) == 0


async def test_a_second_term_does_not_wait_for_a_client_in_the_middle_of_its_message(house: House) -> None:
    client = await asyncio.to_thread(house.connect)
    begin_data(client)
    house.server.signal(signal.SIGTERM)
    await logged(house, "stopping; ")
    await asyncio.sleep(0.3)
    assert house.server.exit_code is None
    house.server.signal(signal.SIGTERM)
    assert await ends(house) == 0
    client.close()


def begin_data(client: smtplib.SMTP) -> None:
    client.mail(SENDER)
    client.rcpt("a@example.net")
    client.putcmd("DATA")
    assert client.getreply()[0] == 354
    client.send(message(("a@example.net",))[:50])
