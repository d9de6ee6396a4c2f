"""What goes wrong around the server (store, disk, receivers, DNS, operator): nothing is lost, all mends by itself."""

import asyncio
import os
import re
import smtplib
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from mta.demo.dns import Failure
from mta.demo.receiver import Behaviour, Receiver
from tests.scenarios.house import House, message, open_house
from tests.scenarios.programs import need_root
from tests.scenarios.web import get

MEGABYTE = 1_000_000
NO_SPACE = (452, "4.3.1")
STAGES = ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT")


async def refusal(house: House, content: bytes | None = None) -> tuple[int, str]:
    """Submit, and return what the server says against it."""
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        await house.submit("a@example.net", content=content)
    return _said(caught.value)


def _said(refused: smtplib.SMTPResponseException) -> tuple[int, str]:
    """Return code and enhanced code."""
    text = refused.smtp_error
    return refused.smtp_code, (text.decode() if isinstance(text, bytes) else text).split()[0]


# the store


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Hold the write lock of the store, as a careless program does."""
    with closing(sqlite3.connect(house.folder / "data" / "queue.db", isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        yield
        outside.execute("ROLLBACK")


@pytest.mark.slow
async def test_a_locked_store_means_451_until_the_lock_is_gone(house: House) -> None:
    house.sink.answer("RCPT", None, "450 4.7.1 later", times=1)
    before = await house.submit("a@example.net")
    await house.wait_for_events(before, "deferred")
    with locked(house):
        refused, ready = await asyncio.gather(refusal(house), get(house, "/readyz"))
    assert (refused, ready.status) == ((451, "4.3.0"), 503)
    assert (await get(house, "/readyz")).status == 200
    after = await house.submit("a@example.net")
    await house.wait_for_states(before, "delivered")
    await house.wait_for_states(after, "delivered")
    assert len(house.sink.messages) == 2


# the disk


async def test_a_disk_below_min_free_means_452(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", min_free="100%") as house:
        assert await refusal(house) == NO_SPACE
        assert house.sink.messages == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    need_root("a disk of its own has to be mounted")
    place = tmp_path / "house" / "data"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for some octets; return the file that does it."""
    ballast = disk / "ballast"
    there = os.statvfs(disk)
    ballast.write_bytes(bytes(there.f_bavail * there.f_frsize - leave))
    return ballast


@pytest.mark.slow
async def test_a_full_disk_means_452_and_loses_nothing(disk: Path) -> None:
    large = message(("a@example.net",), body=("x" * 70 + "\n") * (MEGABYTE // 71))
    async with open_house(disk.parent) as house:
        house.sink.answer("RCPT", None, "450 4.7.1 later")
        accepted = [await house.submit("a@example.net")]
        ballast = fill(disk, leave=300_000)
        assert await refusal(house, large) == NO_SPACE  # there was room when it began to be written
        ballast.unlink()
        ballast = fill(disk, leave=0)
        accepted += await _submit_until_refused(house)
        ballast.unlink()
        house.sink.answer("RCPT", None, "250 2.1.5 Ok")
        accepted.append(await _submit_when_possible(house, large))
        for queue_id in accepted:
            await house.wait_for_states(queue_id, "delivered")
        assert len(house.sink.messages) == len(accepted)


async def _submit_until_refused(house: House) -> list[str]:
    """Submit small messages, for which there may be room in files that are there already; return those accepted."""
    accepted = []
    for _ in range(1000):
        try:
            accepted.append(await house.submit("a@example.net"))
        except smtplib.SMTPResponseException as refused:
            return accepted if _said(refused) == NO_SPACE else pytest.fail(str(refused))
    pytest.fail("a full disk takes a thousand messages")


async def _submit_when_possible(house: House, content: bytes) -> str:
    """Submit as a client does that was told to come back."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await house.submit("a@example.net", content=content)
            except smtplib.SMTPResponseException as refused:
                if _said(refused) != NO_SPACE:
                    raise
                await asyncio.sleep(0.2)


# receivers


@pytest.mark.slow
async def test_a_receiver_that_hangs_up_gets_the_message_once_it_stays(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        receivers = {stage: await stack.enter_async_context(Receiver()) for stage in STAGES}
        routes = "".join(
            f'[[route]]\ndomain = "{stage.lower()}.example"\nrelay = "smtp://127.0.0.1:{receiver.port}"\n'
            for stage, receiver in receivers.items()
        )
        house = await stack.enter_async_context(open_house(tmp_path / "house", more=routes))
        for stage, receiver in receivers.items():
            receiver.answer(stage, None, Behaviour.CLOSE, times=1)
        queue_id = await house.submit(*(f"a@{stage.lower()}.example" for stage in STAGES))
        await house.wait_for_states(queue_id, *["delivered"] * len(STAGES))
        assert {stage: len(receiver.messages) for stage, receiver in receivers.items()} == dict.fromkeys(STAGES, 1)
        assert {stage: receiver.connections for stage, receiver in receivers.items()} == dict.fromkeys(STAGES, 2)
        (story,) = await house.why(queue_id)
        deferred = {event["recipient"]: event for event in story["events"] if event["type"] == "deferred"}
        doubted = {who for who, event in deferred.items() if event.get("detail", {}).get("in_doubt")}
        assert len(deferred) == len(STAGES)
        assert doubted == {"a@dot.example"}  # the one whose message may have been taken all the same


# DNS


@pytest.mark.slow
@pytest.mark.parametrize("failure", [Failure.SERVFAIL, Failure.SILENT])
async def test_mail_waits_for_dns(house: House, failure: Failure) -> None:
    house.names.fail("example.net", failure)
    queue_id = await house.submit("a@example.net")
    await house.until(lambda: _deferred_with(house, queue_id), ["4.4.3"])
    house.names.fail("example.net", None)
    await house.wait_for_states(queue_id, "delivered")
    assert len(house.sink.messages) == 1


async def _deferred_with(house: House, queue_id: str) -> set[str]:
    (story,) = await house.why(queue_id)
    return {event["reply"]["enhanced"] for event in story["events"] if event["type"] == "deferred"}


# the operator


NO_KEY = '[[domain]]\nname = "b.example"\ndkim = [{ selector = "x", key = "none.pem" }]'


@pytest.mark.parametrize(
    ("wrong", "line", "told"),
    [
        pytest.param("[queue]\nretries = []", 2, 'queue: unknown key "retries"; did you mean "retry"', id="a-typo"),
        pytest.param('[queue]\nmax_age = "soon"', 2, r"queue\.max_age: .*such as", id="no-duration"),
        pytest.param('[[route]]\ndomain = "a.example"', 1, "route.*relay.*hold", id="half-a-route"),
        pytest.param(NO_KEY, 3, 'domain "b.example": .*none.pem" does not exist; create it', id="no-key"),
    ],
)
async def test_a_broken_configuration_never_starts(tmp_path: Path, wrong: str, line: int, told: str) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        house.config.write_text(wrong)
        code, output = await house.server.command("serve")
        assert code == 78, output
        assert re.search(rf"scenario\.toml:{line}: {told}", output), output
        assert not (house.folder / "data" / "queue.db").exists()


async def test_a_second_server_is_told_of_the_first_and_does_it_no_harm(house: House) -> None:
    code, output = await house.server.command("serve")
    assert code == 78
    assert f"another mta already serves from {house.folder}/data (process {house.server.pid})" in output
    assert "Traceback" not in output
    await house.wait_for_states(await house.submit("a@example.net"), "delivered")


@pytest.mark.parametrize("listener", ["submission", "submission_tls", "submission_plain", "inbound", "http"])
async def test_a_port_that_is_taken_is_named_with_a_remedy(tmp_path: Path, house: House, listener: str) -> None:
    host, port = house.server.address(listener)
    section, _, rest = listener.partition("_")
    name = f"listen_{rest}" if rest else "listen"
    async with open_house(tmp_path / "other", start=False) as other:
        file = other.config if section == "http" else other.server.config
        before, heading, after = file.read_text().partition(f"[{section}]\n")
        taken = after.replace(f'{name} = ["127.0.0.1:0"]', f'{name} = ["{host}:{port}"]', 1)
        file.write_text(before + heading + taken)
        code, output = await other.server.command("serve")
        assert code == 78, output
        assert re.search(rf"{section}\.{name}: cannot listen on .*{port}.*: Address already in use; .*ss -ltnp", output)
        assert "Traceback" not in output
