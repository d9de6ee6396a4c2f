"""`mta queue export|import`: from one folder to another, with and without a server."""

import shutil
from pathlib import Path

import pytest

from tests.cli.command import Command


@pytest.fixture
def elsewhere(made_once: Path, tmp_path: Path) -> Command:
    """Another machine: a folder of the same configuration and keys, without a store."""
    return Command(Path(shutil.copytree(made_once, tmp_path / "elsewhere")) / "mta.toml")


def states(mta: Command) -> dict[str, str]:
    """The state of each delivery that is open."""
    return {row["recipient"]: row["state"] for row in mta("queue", "list", "--json").rows}


def test_what_is_exported_is_held_here_and_goes_on_there(
    mta: Command, elsewhere: Command, letterbox: dict[str, str], tmp_path: Path
) -> None:
    file = str(tmp_path / "queue.mta")
    before = states(mta)
    exported = mta("queue", "export", file, "--domain", "example.com")
    assert exported.exit_code == 0
    assert exported.lines[0] == "exported 2 deliveries"
    assert exported.lines[1].startswith("they are held here; once they are taken in elsewhere: mta queue cancel ")
    here = states(mta)
    assert (here["alice@example.com"], here["dave@example.com"]) == ("held", "held")
    assert {name: state for name, state in here.items() if not name.endswith("example.com")} == {
        name: state for name, state in before.items() if not name.endswith("example.com")
    }
    story = mta("why", letterbox["waiting"]).stdout
    assert "it went to another machine (exported " in story
    assert elsewhere("queue", "import", file, "--dry-run").lines[0].startswith("would take in 2 deliveries")
    taken = elsewhere("queue", "import", file)
    assert (taken.exit_code, taken.lines[0].startswith("took in 2 deliveries")) == (0, True)
    assert states(elsewhere) == {"alice@example.com": "queued", "dave@example.com": "queued"}
    assert [row["action"] for row in elsewhere("audit", "--json").rows] == ["queue import"]


def test_the_line_that_ends_what_was_exported_is_one_that_works(
    live: Command, mta: Command, letterbox: dict[str, str], tmp_path: Path
) -> None:
    row = mta("queue", "export", str(tmp_path / "queue.mta"), "--domain", "example.com", "--json").row
    would = mta("queue", "cancel", "--state", "held", "--hold-reason", f"exported {row['id']}", "--dry-run")
    assert would.lines == ["cancel: would change 2 deliveries"]


def test_a_dry_run_makes_no_file_and_changes_nothing(mta: Command, letterbox: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "queue.mta"
    before = states(mta)
    assert mta("queue", "export", str(file), "--all", "--dry-run").lines == ["would export 6 deliveries"]
    assert (file.exists(), states(mta)) == (False, before)


def test_an_import_that_is_run_twice_takes_nothing_in_twice(
    mta: Command, elsewhere: Command, letterbox: dict[str, str], tmp_path: Path
) -> None:
    file = str(tmp_path / "queue.mta")
    mta("queue", "export", file, "--domain", "example.com")
    elsewhere("queue", "import", file)
    again = elsewhere("queue", "import", file)
    assert (again.exit_code, "is in this store already" in again.stderr) == (65, True)
    assert len(states(elsewhere)) == 2


def test_a_damaged_file_is_refused_as_a_whole(
    mta: Command, elsewhere: Command, letterbox: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "queue.mta"
    mta("queue", "export", str(file), "--all")
    octets = file.read_bytes()
    file.write_bytes(octets.replace(b"Good morning", b"Bad  morning"))
    assert file.read_bytes() != octets
    answer = elsewhere("queue", "import", str(file))
    assert (answer.exit_code, "not those that were accepted" in answer.stderr) == (65, True)
    assert states(elsewhere) == {}


@pytest.mark.parametrize("text", [b"", b"nonsense", b"SQLite format 3\0" + b"x" * 100])
def test_a_file_that_is_no_export_is_refused(elsewhere: Command, tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "queue.mta"
    file.write_bytes(text)
    assert elsewhere("queue", "import", str(file)).exit_code == 65


def test_an_export_never_writes_over_a_file(mta: Command, letterbox: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "queue.mta"
    file.write_bytes(b"something of theirs")
    answer = mta("queue", "export", str(file), "--all")
    assert (answer.exit_code, "is there already" in answer.stderr) == (75, True)
    assert file.read_bytes() == b"something of theirs"


def test_an_export_wants_to_know_what(mta: Command, letterbox: dict[str, str], tmp_path: Path) -> None:
    assert mta("queue", "export", str(tmp_path / "queue.mta")).exit_code == 2
