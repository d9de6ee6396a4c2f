"""`mta dkim`: which keys sign, and new ones."""

import stat
from pathlib import Path

import pytest

from mta.dkim.keys import SigningKey
from tests.cli.command import Command


def test_list_shows_each_key_and_where_it_is_published(mta: Command, site: Path) -> None:
    rows = mta("dkim", "list", "--json").rows
    assert [(row["selector"], row["algorithm"], row["bits"]) for row in rows] == [
        ("r1", "rsa-sha256", 2048),
        ("e1", "ed25519-sha256", 256),
    ]
    key = SigningKey.parse("example.com", "r1", (site / "dkim" / "example.com.r1.pem").read_bytes())
    assert (rows[0]["dns_name"], rows[0]["dns_record"]) == (key.dns_name, key.dns_record)
    assert mta("dkim", "list").lines[0].split()[:3] == ["DOMAIN", "SELECTOR", "ALGORITHM"]


def test_list_says_where_no_key_is(mta: Command, site: Path) -> None:
    (site / "mta.d").mkdir()
    (site / "mta.d" / "more.toml").write_text(
        '[[domain]]\nname = "a.example"\n[[domain]]\nname = "b.example"\ndkim = []\n'
    )
    rows = {row["domain"]: row["selector"] for row in mta("dkim", "list", "--json").rows}
    assert (rows["a.example"], rows["b.example"]) == ("NO KEY", "unsigned on purpose")


def test_a_file_that_is_no_key_is_the_configurations_fault(mta: Command, site: Path) -> None:
    (site / "dkim" / "example.com.r1.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    answer = mta("dkim", "list")
    assert answer.exit_code == 78
    assert f"{site}/dkim/example.com.r1.pem: " in answer.stderr


@pytest.mark.parametrize(("algorithm", "selectors"), [("rsa", ["r2", "r3"]), ("ed25519", ["e2", "e3"])])
def test_keygen_takes_the_next_free_selector(mta: Command, site: Path, algorithm: str, selectors: list[str]) -> None:
    for selector in selectors:
        row = mta("dkim", "keygen", "example.com", "--algorithm", algorithm, "--json").row
        path = Path(row["file"])
        assert path == site / "dkim" / f"example.com.{selector}.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = SigningKey.parse("example.com", selector, path.read_bytes())
        assert (row["dns_name"], row["dns_record"]) == (key.dns_name, key.dns_record)


def test_keygen_prints_the_exact_record_and_the_line_for_the_configuration(mta: Command, site: Path) -> None:
    answer = mta("dkim", "keygen", "example.com", "--selector", "May2026")
    path = site / "dkim" / "example.com.may2026.pem"
    key = SigningKey.parse("example.com", "may2026", path.read_bytes())
    assert key.zone_line() in answer.lines
    assert answer.lines[-1] == '  { selector = "may2026", key = "dkim/example.com.may2026.pem" },'


def test_what_keygen_prints_for_a_new_domain_can_be_pasted(mta: Command, site: Path) -> None:
    answer = mta("dkim", "keygen", "new.example", "--algorithm", "ed25519")
    start = answer.lines.index("[[domain]]")
    config = site / "mta.toml"
    config.write_text(config.read_text() + "\n".join(answer.lines[start:]) + "\n")
    assert mta("check").exit_code == 0
    assert mta("dkim", "list", "--json").rows[-1]["domain"] == "new.example"


def test_what_keygen_prints_works_in_any_file_of_several(mta: Command, site: Path) -> None:
    (site / "mta.d").mkdir()
    (site / "mta.d" / "a.toml").write_text("")
    row = mta("dkim", "keygen", "new.example", "--algorithm", "ed25519", "--json").row
    (site / "mta.d" / "a.toml").write_text(f'[[domain]]\nname = "new.example"\ndkim = [{row["entry"]}]\n')
    assert mta("check").exit_code == 0


@pytest.mark.parametrize("selector", ["r1", "R1"])
def test_keygen_never_replaces_a_key(mta: Command, site: Path, selector: str) -> None:
    path = site / "dkim" / "example.com.r1.pem"
    before = path.read_bytes()
    answer = mta("dkim", "keygen", "example.com", "--selector", selector)
    assert answer.exit_code == 1
    assert "is taken" in answer.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [["not a domain"], ["../../x"], ["example.com", "--selector", "../x"], ["example.com", "--selector", "a b"]],
    ids=" ".join,
)
def test_names_that_are_none_make_no_file(mta: Command, site: Path, arguments: list[str]) -> None:
    before = sorted(site.parent.rglob("*"))
    assert mta("dkim", "keygen", "--algorithm", "ed25519", *arguments).exit_code == 65
    assert sorted(site.parent.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_no_traceback(mta: Command, site: Path) -> None:
    config = site / "mta.toml"
    text = config.read_text().replace('"dkim/', '"keys/')
    (site / "dkim").rename(site / "keys")
    config.write_text(text)
    (site / "dkim").write_text("a file")
    answer = mta("dkim", "keygen", "example.com", "--algorithm", "ed25519")
    assert answer.exit_code == 73
    assert "run this as the owner of" in answer.stderr
