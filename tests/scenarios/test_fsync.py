"""Whether the message is on stable storage before its client hears 250, seen from the kernel's side (RFC 5321 §6.1)."""

import os
import re
import signal
import smtplib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mta.cli.init import ACCOUNT
from mta.demo.process import ServerProcess
from tests.scenarios.house import SENDER, House, message, open_house, send

MARK = "b1c5e0f2-the-only-one"
TRACED = "fsync,fdatasync,read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2"
_CALL = re.compile(r"(?:\[pid +)?(\d+)\]? +(?:<\.\.\. )?(\w+)(.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """One line of a trace: a call, its beginning or its end."""

    thread: str
    name: str
    text: str
    is_begun: bool
    is_done: bool


@pytest.mark.peer("strace")
async def test_the_message_is_synced_to_disk_before_250_is_written(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with open_house(tmp_path / "house", start=False) as house:
        tracer = ("strace", "-f", "-qq", "-y", "-s", "65536", "-o", str(trace), "-e", f"trace={TRACED}")
        house.server = ServerProcess(house.server.config, tracer)
        async with house.server:
            queue_id = _submit_in_clear(house)
            os.kill(house.server.status["pid"], signal.SIGTERM)  # not the tracer, which would leave it alone
    calls = _parse(trace.read_text("ascii", "replace").splitlines())
    read = _first(calls, 0, lambda call: call.is_done and MARK in call.text and call.name in {"read", "recvfrom"})
    written = _first(calls, read, lambda call: call.is_done and MARK in call.text and _to_log(call, "pwrite64"))
    begun = _first(calls, written, lambda call: call.is_begun and _to_log(call, "fsync", "fdatasync"))
    same = (calls[begun].thread, calls[begun].name)
    synced = _first(calls, begun, lambda call: call.is_done and (call.thread, call.name) == same)
    told = _first(calls, 0, lambda call: call.is_begun and f"250 2.0.0 Ok: queued as {queue_id}" in call.text)
    assert read < written < begun <= synced < told
    assert calls[synced].text.endswith("= 0")


def _submit_in_clear(house: House) -> str:
    """TLS would hide the reply from the trace."""
    with smtplib.SMTP(*house.server.address("submission_plain"), timeout=20) as client:
        client.login(ACCOUNT, house.password)
        return send(client, SENDER, ("a@example.net",), message(("a@example.net",), body=f"{MARK}\n"))


def _to_log(call: Call, *names: str) -> bool:
    """Whether a call is one of these, to the write-ahead log of the queue."""
    return call.name in names and "queue.db-wal>" in call.text


def _first(calls: list[Call], start: int, wanted: Callable[[Call], bool]) -> int:
    found = next((number for number, call in enumerate(calls[start:], start) if wanted(call)), None)
    assert found is not None, f"no such call after line {start} of the trace"
    return found


def _parse(lines: Iterable[str]) -> list[Call]:
    """A call that others interrupt stands there as two lines: "<unfinished ...>", and "<... name resumed>"."""
    calls = []
    for line in lines:
        if match := _CALL.match(line):
            thread, name, text = match.groups()
            calls.append(Call(thread, name, text, "resumed>" not in text[:10], not text.endswith("<unfinished ...>")))
    return calls
