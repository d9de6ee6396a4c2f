"""Whatever goes wrong, an operator gets a sentence and an exit code, never a traceback."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mta.cli.app import App, command, explain
from mta.cli.main import cli
from mta.control.protocol import CommandFailed
from mta.errors import ConfigError, Damaged, Problem, StoreUnavailable
from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command

_NOBODY = 65534
READING = [
    ["queue", "list"],
    ["queue", "show", "x"],
    ["queue", "stats"],
    ["why", "x"],
    ["events"],
    ["bounces", "list"],
    ["bounces", "rejected"],
    ["bounces", "letter", "x"],
    ["suppression", "list"],
    ["suppression", "check", "a@example.net"],
    ["reputation"],
]


@pytest.mark.parametrize(
    ("error", "text", "exit_code"),
    [
        (ConfigError(Problem("a.toml", 1, "k", "is wrong", "mend it")), "a.toml:1: k: is wrong; mend it", 78),
        (CommandFailed("not now", 75), "not now", 75),
        (StoreUnavailable("gone"), "the store cannot be used: gone", 75),
        (Damaged("broken"), "broken", 75),
        (
            PermissionError(13, "Permission denied", "/x"),
            "/x: Permission denied; run this as root or the server's user",
            77,
        ),
        (FileNotFoundError(2, "No such file", "/x"), "/x: No such file", 74),
        (OSError("strange"), "strange", 74),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_failure_has_a_sentence_and_an_exit_code(error: Exception, text: str, exit_code: int) -> None:
    assert explain(error) == (text, exit_code)


def run_failing(error: BaseException) -> tuple[int, str]:
    @click.command()
    @command
    def failing(app: App) -> None:
        raise error

    result = CliRunner().invoke(failing, obj=App(None))
    return result.exit_code, result.stderr


def test_a_mistake_of_ours_says_where_it_was_made_in_one_line() -> None:
    exit_code, said = run_failing(KeyError("x"))
    assert exit_code == 70
    assert said.startswith("mta: a mistake in mta itself: KeyError: 'x' (")
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [CommandFailed("\x1b[31mred\r\nline"), StoreUnavailable("\x9b2J")])
def test_messages_are_clean(error: Exception) -> None:
    assert not UNFIT_FOR_A_TERMINAL.search(run_failing(error)[1])


def test_a_usage_error_stays_one() -> None:
    assert run_failing(click.BadParameter("no"))[0] == 2


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_before_the_first_start_there_is_no_store_and_it_says_so(mta: Command, arguments: list[str]) -> None:
    answer = mta(*arguments)
    assert (answer.exit_code, answer.stdout) == (75, "")
    assert "there is no store yet; `mta serve` makes it" in answer.stderr


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO schema_version VALUES (99, 0)")
    connection.commit()
    connection.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, but some other file of the operator's" * 100)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.usefixtures("letterbox")
@pytest.mark.parametrize("arguments", [*READING, ["account", "list"]], ids=" ".join)
@pytest.mark.parametrize("spoil", [newer, garbage, folder], ids=lambda spoil: str(spoil.__name__))
def test_a_store_that_cannot_be_used_is_said(mta: Command, site: Path, spoil: object, arguments: list[str]) -> None:
    assert callable(spoil)
    spoil(site / "data" / "queue.db")
    answer = mta(*arguments)
    assert (answer.exit_code, answer.stdout) == (75, "")
    assert str(site / "data" / "queue.db") in answer.stderr


def test_a_store_of_a_newer_version_says_what_to_do(mta: Command, site: Path, letterbox: dict[str, str]) -> None:
    newer(site / "data" / "queue.db")
    assert "start that version again, or restore a backup" in mta("queue", "list").stderr


@pytest.fixture
def of_a_user(made_once: Path) -> Iterator[Path]:
    """A folder of an ordinary user, whom this process is meanwhile, with a `data_dir` that is not for him."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(shutil.copytree(made_once, Path(folder) / "site"))
        (site / "data" / "queue.db").touch()
        (site / "data").chmod(0)
        is_root = os.geteuid() == 0
        if is_root:
            Path(folder).chmod(0o755)
            for path in (site, *site.rglob("*")):
                os.chown(path, _NOBODY, -1)
            os.chown(site / "data", 0, -1)
            os.seteuid(_NOBODY)
        try:
            yield site
        finally:
            if is_root:
                os.seteuid(0)
            (site / "data").chmod(0o700)


@pytest.mark.parametrize("arguments", [*READING, ["account", "list"], ["reload"]], ids=" ".join)
def test_a_data_dir_that_is_not_for_us_is_said(of_a_user: Path, arguments: list[str]) -> None:
    answer = Command(of_a_user / "mta.toml")(*arguments)
    assert (answer.exit_code, answer.stdout) == (77, "")
    assert f"{of_a_user}/data/" in answer.stderr
    assert answer.stderr.endswith("run this as root or the server's user\n")


def test_check_and_serve_refuse_a_data_dir_that_is_not_for_us(of_a_user: Path) -> None:
    for verb in ("check", "serve"):
        answer = Command(of_a_user / "mta.toml")(verb)
        assert answer.exit_code == 78
        assert f"data_dir: {of_a_user}/data cannot be written; " in answer.stdout + answer.stderr


@pytest.mark.parametrize("arguments", [*READING, ["dns"], ["dkim", "list"], ["reload"], ["serve"], ["account", "list"]])
def test_without_a_configuration_it_says_how_to_get_one(tmp_path: Path, arguments: list[str]) -> None:
    answer = Command(tmp_path / "mta.toml")(*arguments)
    assert (answer.exit_code, answer.stdout) == (78, "")
    assert answer.stderr.endswith("run: mta init, or name another file with -c FILE\n")


def test_every_command_and_option_says_what_it_does() -> None:
    unexplained = []

    def look(name: str, each: click.Command) -> None:
        if not each.help:
            unexplained.append(name)
        for parameter in each.params:
            if isinstance(parameter, click.Option) and not parameter.help:
                unexplained.append(f"{name} {parameter.opts[0]}")
        if isinstance(each, click.Group):
            for below, child in each.commands.items():
                look(f"{name} {below}", child)

    look("mta", cli)
    assert unexplained == []
