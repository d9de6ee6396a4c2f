"""The file that is shipped names every key, with its default, and its examples work."""

import re
import shutil
from pathlib import Path

import pytest

from mta.config.in_force import NOT_IN_FORCE, REASON
from mta.config.load import Loaded, load
from mta.config.positions import Loc, Positions
from mta.config.schema import keys_of, part_at
from mta.config.settings import SecretsSettings, Settings

SHIPPED = Path(__file__).parents[2] / "mta.toml"
PEM = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"
EXAMPLE_FILES = {
    "keyring.json": "{}",
    "webhook.secret": "s",
    "tls/cert.pem": PEM.format("CERTIFICATE"),
    "tls/key.pem": PEM.format("PRIVATE KEY"),
    "dkim/example.com.r1.pem": PEM.format("PRIVATE KEY"),
    "dkim/example.com.e1.pem": PEM.format("PRIVATE KEY"),
}


def _uncommented() -> str:
    return re.sub(r"^#> ", "", SHIPPED.read_text("utf-8"), flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the shipped file and what `mta init` leaves beside it."""
    shutil.copy(SHIPPED, tmp_path / "mta.toml")
    for name, text in EXAMPLE_FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    return tmp_path


def _load(folder: Path) -> Loaded:
    return load(folder / "mta.toml", {})


def test_the_shipped_file_says_what_the_defaults_say(folder: Path) -> None:
    settings = _load(folder).settings
    assert settings.secrets.keyring.file == folder / "keyring.json"
    defaults = Settings(hostname="mail.example.com", secrets=SecretsSettings(keyring=settings.secrets.keyring))
    assert settings == defaults


def test_the_shipped_file_sets_nothing_that_has_no_effect(folder: Path) -> None:
    assert [warning for warning in _load(folder).warnings if warning.reason == REASON] == []


def test_the_examples_in_comments_load(folder: Path) -> None:
    (folder / "mta.toml").write_text(_uncommented(), "utf-8")
    settings = _load(folder).settings
    assert [account.name for account in settings.account] == ["shop"]
    assert [key.selector for key in settings.domain[0].dkim or ()] == ["r1", "e1"]
    assert [route.hold for route in settings.route] == [False, True]


def _starred(loc: Loc) -> Loc:
    return tuple("*" if isinstance(key, int) else key for key in loc)


def test_every_key_occurs_in_the_shipped_file() -> None:
    present = {_starred(loc) for loc in Positions.of(_uncommented()).lines}
    assert [loc for loc in keys_of(Settings) if loc not in present] == []


def _comment_of(loc: Loc, lines: list[str], line: int) -> str:
    """Return the comment above a key; keys that follow one another share it."""
    above = line - 2
    while not lines[above].startswith("# "):
        assert lines[above] not in ("", "#"), f"{loc} has no comment"
        above -= 1
    block = []
    while lines[above].startswith("# "):
        block.append(lines[above])
        above -= 1
    return " ".join(reversed(block))


def test_keys_without_effect_are_marked_and_only_these() -> None:
    """Of nested tables the outermost key carries the mark; that of a whole list stands at each of its keys."""
    text = _uncommented()
    lines, wrong = SHIPPED.read_text("utf-8").split("\n"), []
    for loc, line in Positions.of(text).lines.items():
        key = _starred(loc)
        if (part_at(key[:1]) is not None and len(key) == 1) or key[-1] == "*" or len(key) > (3 if "*" in key else 2):
            continue
        marked = "not in force yet" in _comment_of(key, lines, line)
        if marked != any(key[: len(silent)] == silent for silent in NOT_IN_FORCE):
            wrong.append(key)
    assert wrong == []
