"""`mta check`: all that is wrong, said at once, with the exit code that a script needs."""

from pathlib import Path

import pytest

from mta.dkim.keys import generate_ed25519
from tests.cli.command import Command


def add(site: Path, text: str) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text() + text)


def test_a_good_configuration_is_said_to_be_good(mta: Command, site: Path) -> None:
    answer = mta("check")
    assert (answer.exit_code, answer.lines) == (0, [f"{site}/mta.toml: ok: mail.example.com, 1 domain, 1 account"])
    assert mta("check", "--json").rows == []


@pytest.mark.parametrize(("strict", "exit_code"), [([], 0), (["--strict"], 1)])
def test_warnings_fail_the_strict_only(mta: Command, site: Path, strict: list[str], exit_code: int) -> None:
    add(site, '[privacy]\ntrash = "1d"\n')
    answer = mta("check", *strict)
    assert answer.exit_code == exit_code
    assert answer.lines[0].startswith(f"warning: {site}/mta.toml:")
    assert answer.lines[1].endswith("1 account, 1 warning")


def test_all_errors_of_the_files_are_told_at_once(mta: Command, site: Path) -> None:
    add(site, '[queue]\nretri = ["5m"]\nmax_age = "soon"\n[http]\nlisten = ["nowhere"]\n')
    answer = mta("check")
    assert answer.exit_code == 78
    assert len([line for line in answer.lines if line.startswith("error: ")]) == 3
    rows = mta("check", "--json").rows
    assert {row["key"] for row in rows} == {"queue", "queue.max_age", "http.listen"}
    assert all(row["severity"] == "error" and row["file"].endswith("mta.toml") and row["line"] for row in rows)


def test_errors_of_what_it_points_to_are_told_at_once_with_the_warnings(mta: Command, site: Path) -> None:
    (site / "dkim" / "example.com.r1.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (site / "dkim" / "example.com.e1.pem").write_bytes(generate_ed25519())
    (site / "keyring.json").write_text("{}")
    answer = mta("check")
    assert answer.exit_code == 78
    assert [line.split(": ")[:2] for line in answer.lines] == [
        ["error", f"{site}/dkim/example.com.r1.pem"],
        ["error", f"{site}/keyring.json"],
        ["warning", 'domain "example.com"'],
    ]


def test_without_any_configuration_it_says_how_to_get_one(tmp_path: Path) -> None:
    answer = Command(tmp_path / "mta.toml")("check")
    assert answer.exit_code == 78
    assert "run: mta init" in answer.stdout


def test_it_makes_nothing(mta: Command, site: Path) -> None:
    before = sorted(site.rglob("*"))
    (site / "data").rmdir()
    assert mta("check").exit_code == 0
    assert sorted(site.rglob("*")) == [path for path in before if path.name != "data"]
