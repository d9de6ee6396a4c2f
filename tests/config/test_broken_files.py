"""Broken configurations, one mistake each, and exactly what the operator reads: cases in broken_files.txt."""

import re
from pathlib import Path

import pytest

from mta.config.load import load
from mta.errors import ConfigError

HOST = 'hostname = "mail.example.com"\n'
KEY = "-----BEGIN PRIVATE KEY-----"
FILES = {
    "keyring.json": ("{}", 0o600),
    "a.pem": (KEY, 0o600),
    "open.pem": (KEY, 0o644),
    "group key.pem": (KEY, 0o640),
    "locked.pem": ("-----BEGIN ENCRYPTED PRIVATE KEY-----", 0o600),
    "cert.pem": ("-----BEGIN CERTIFICATE-----", 0o644),
    "junk.pem": ("junk", 0o600),
    "empty": ("\n", 0o600),
}
ENVIRON = {"RELAY": "smtp://u:pw@r.example", "EMPTY": ""}
CASE = re.compile(r"^== (?P<name>.+)\n(?P<text>(?:.*\n)*?)--\n(?P<complaints>(?:.+\n)+)", re.MULTILINE)
CASES = list(CASE.finditer(Path(__file__).with_name("broken_files.txt").read_text("utf-8")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with good and bad files to point at."""
    (tmp_path / "folder").mkdir()
    for name, (text, mode) in FILES.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    return tmp_path


def _complaints(folder: Path, text: str) -> list[str]:
    path = folder / "mta.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_broken_configuration_is_refused_in_words(folder: Path, case: re.Match[str]) -> None:
    assert _complaints(folder, case["text"]) == case["complaints"].splitlines()


def test_no_case_is_lost_in_reading_them() -> None:
    text = Path(__file__).with_name("broken_files.txt").read_text("utf-8")
    assert len(CASES) == text.count("\n== ") >= 40


def test_all_problems_are_told_at_once(folder: Path) -> None:
    text = (
        HOST
        + """
workers = 0
[queue]
retries = []
retry = ["soon"]
max_age = "4 days"
[reputation]
bounce_rate = { warn = 0.2, suspend = 0.1 }
[[domain]]
name = "example.org"
dkim = [ { selector = "r1", key = "open.pem" } ]
[[account]]
name = "shop"
password_hash = { env = "NO_SUCH" }
domains = ["example.org"]
rate = 5
[[account]]
name = "ok"
domains = ["example.org"]
"""
    )
    lines = [int(complaint.split(":")[1]) for complaint in _complaints(folder, text)]
    assert lines == [3, 5, 6, 7, 9, 12, 15, 17]


def test_one_mistake_does_not_cause_complaints_about_others(folder: Path) -> None:
    text = HOST + '[[domain]]\nname = "exa mple.org"\n[[account]]\nname = "shop"\ndomains = ["example.org"]\n'
    assert len(_complaints(folder, text)) == 1


def test_no_complaint_repeats_a_secret(folder: Path) -> None:
    text = (
        HOST
        + """
[[route]]
domain = "*"
relay = "smtp://u:hunter2@r.example/path"
[[account]]
name = "shop"
domains = []
password_hash = "hunter2"
scram = "hunter2"
webhook = { url = "https://example.org", secret = ["hunter2"] }
"""
    )
    complaints = _complaints(folder, text)
    assert len(complaints) == 4
    assert "hunter2" not in "".join(complaints)
