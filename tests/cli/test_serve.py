"""`mta serve`: what it refuses to begin with, as a sentence and an exit code. How it runs is told by scenarios."""

import socket
import sqlite3
from pathlib import Path

import pytest

from mta.control.lock import only_server
from tests.cli.command import Command


def add(site: Path, text: str) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text() + text)


@pytest.fixture(autouse=True)
def no_port_for_http(site: Path) -> None:
    add(site, "[http]\nlisten = []\n")


@pytest.mark.parametrize("event_loop", [[], ["--asyncio"]])
def test_a_port_that_is_taken_is_named_with_its_key(mta: Command, site: Path, event_loop: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = site / "mta.toml"
        config.write_text(config.read_text().replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{port}"]', 1))
        answer = mta("serve", *event_loop)
    assert answer.exit_code == 78
    assert f"mta: submission.listen: cannot listen on 127.0.0.1 port {port}: " in answer.stderr


def test_an_http_port_that_is_taken_is_named_with_its_key(mta: Command, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = site / "mta.toml"
        listen = f'listen = ["127.0.0.1:{taken.getsockname()[1]}"]'
        config.write_text(config.read_text().replace("[http]\nlisten = []", f"[http]\n{listen}"))
        answer = mta("serve")
    assert answer.exit_code == 78
    assert "mta: http.listen: cannot listen on " in answer.stderr


def test_what_check_refuses_serve_refuses_in_the_same_words(mta: Command, site: Path) -> None:
    (site / "dkim" / "example.com.r1.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (site / "keyring.json").write_text("{}")
    checked, served = mta("check"), mta("serve")
    assert (checked.exit_code, served.exit_code) == (78, 78)
    errors = [line.removeprefix("error: ") for line in checked.lines if line.startswith("error: ")]
    assert len(errors) == 2
    assert served.stderr.splitlines() == errors


@pytest.mark.usefixtures("letterbox")
def test_a_store_of_a_newer_version_is_left_alone(mta: Command, site: Path) -> None:
    connection = sqlite3.connect(site / "data" / "queue.db")
    connection.execute("INSERT INTO schema_version VALUES (99, 0)")
    connection.commit()
    connection.close()
    answer = mta("serve")
    assert answer.exit_code == 78
    assert "written by a newer version of mta" in answer.stderr


def test_a_second_server_on_the_same_data_is_refused(mta: Command, site: Path) -> None:
    with only_server(site / "data"):
        answer = mta("serve")
    assert answer.exit_code == 78
    assert "another mta already serves from" in answer.stderr
    assert not (site / "data" / "control.sock").exists()
