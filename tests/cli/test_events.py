"""`mta events`: the event log."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command


def test_events_come_in_order_as_lines_or_json(mta: Command, letterbox: dict[str, str]) -> None:
    rows = mta("events", "--json").rows
    assert [row["type"] for row in rows][:4] == ["accepted", "deferred", "accepted", "held"]
    lines = mta("events").lines
    assert len(lines) == len(rows)
    assert f"{letterbox['deferred']}: to=<bob@example.net>, " in lines[1]


@pytest.mark.parametrize(
    ("options", "types"),
    [
        (["--type", "held"], {"held"}),
        (["--type", "bounced"], set()),
        (["--account", "nobody"], set()),
        (["--since", "0s"], set()),
        (["--since", "2h", "--type", "deferred"], {"deferred"}),
        (["--since", "2020-01-01", "--type", "deferred"], {"deferred"}),
        (["--since", "9999-01-01T00:00:00+00:00"], set()),
    ],
    ids=str,
)
def test_options_choose(mta: Command, letterbox: dict[str, str], options: list[str], types: set[str]) -> None:
    answer = mta("events", "--json", *options)
    assert answer.exit_code == 0
    assert {row["type"] for row in answer.rows} == types


def test_a_time_counts_as_utc_unless_it_says_otherwise(mta: Command, letterbox: dict[str, str]) -> None:
    before = datetime.now(UTC) - timedelta(minutes=10)
    for text in (before.strftime("%Y-%m-%dT%H:%M:%S"), before.astimezone().isoformat()):
        assert len(mta("events", "--json", "--since", text).rows) > 0


@pytest.mark.parametrize("since", ["yesterday", "99999999d", "2026-13-01", ""])
def test_a_time_that_is_none_is_wrong_usage(mta: Command, letterbox: dict[str, str], since: str) -> None:
    answer = mta("events", "--since", since)
    assert answer.exit_code == 2
    assert "neither a span" in answer.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_foreign_text_never_reaches_a_terminal_raw(mta: Command, letterbox: dict[str, str], form: list[str]) -> None:
    answer = mta("events", *form)
    assert "evil" in answer.stdout
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stdout)


@pytest.mark.usefixtures("letterbox")
def test_follow_shows_at_once_what_there_is_and_ends_well_on_ctrl_c(site: Path) -> None:
    command = [sys.executable, "-m", "mta", "-c", str(site / "mta.toml"), "events", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["type"] == "accepted"
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=20)
    assert (following.returncode, said) == (0, "")
