"""A worker that only does what its first argument says, and tells it in a file: `fake_worker.py HOW LINE FILE`."""

import os
import signal
import socket
import sys
from contextlib import suppress

how, descriptor, diary = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def note(text: str) -> None:
    with open(diary, "a", encoding="ascii") as stream:
        stream.write(f"{text}\n")


def heard(number: int, frame: object) -> None:
    note(signal.Signals(number).name)


def listen() -> str:
    try:
        return line.recv(100).decode()
    except ConnectionError:
        return ""  # a supervisor that is killed before it has read everything resets the line


note("begun")
if how == "refuse":
    sys.exit(78)
for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, heard)
line = socket.socket(fileno=descriptor)
if how != "mute":
    with suppress(ConnectionError):
        line.sendall(b"what is this\nserving 0.000\n")
if how == "die":
    sys.exit(3)
if how == "die of a signal":
    os.kill(os.getpid(), signal.SIGKILL)
while said := listen():
    for word in said.split():
        note(word)
        if word == {"obey": "stop", "mute": "stop", "late": "now"}.get(how):
            sys.exit(0)
note("orphaned")
