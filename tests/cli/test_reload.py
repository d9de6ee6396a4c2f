"""`mta reload`: what it applied, what it could not."""

from collections.abc import Iterator

import pytest

from tests.cli.command import Command
from tests.scenarios.house import House


@pytest.fixture
def config(house: House, live: Command) -> Iterator[str]:
    """The shared server's configuration, which is put back behind the test."""
    before = house.config.read_text()
    yield before
    house.config.write_text(before)
    assert live("reload").exit_code == 0


def test_nothing_changed_is_said(live: Command) -> None:
    assert live("reload").lines == ["applied: nothing had changed"]
    assert live("reload", "--json").row == {"applied": [], "needs_restart": [], "warnings": []}


def test_what_is_applied_and_what_needs_a_restart_is_named(live: Command, house: House, config: str) -> None:
    house.config.write_text(config.replace('"1h"', '"2h"').replace('"0.1%"', '"0.2%"'))
    assert live("reload").lines == ["applied: queue.retry", "needs a restart: queue.min_free"]


def test_a_restart_that_is_due_is_named_until_it_happens(live: Command, house: House, config: str) -> None:
    house.config.write_text(config.replace('"0.1%"', '"0.2%"'))
    assert live("reload").exit_code == 0
    assert live("reload", "--json").row == {"applied": [], "needs_restart": ["queue.min_free"], "warnings": []}


def test_warnings_are_shown(live: Command, house: House, config: str) -> None:
    house.config.write_text(config + '[privacy]\ntrash = "1d"\n')
    (line,) = [line for line in live("reload").lines if line.startswith("warning: ")]
    assert "is not in force" in line


def test_what_check_refuses_reload_refuses_and_changes_nothing(live: Command, house: House, config: str) -> None:
    key = house.folder / "broken.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    key.chmod(0o600)
    entry = '[[domain]]\nname = "new.example"\ndkim = [{ selector = "x", key = "../broken.pem" }]\n'
    house.config.write_text(config + entry)
    answer, checked = live("reload"), live("check")
    assert (answer.exit_code, checked.exit_code) == (78, 78)
    assert "broken.pem" in answer.stderr
    house.config.write_text(config)
    assert live("reload", "--json").row["applied"] == []


def test_without_a_server_it_says_how_to_start_one(mta: Command) -> None:
    assert mta("reload").exit_code == 69
