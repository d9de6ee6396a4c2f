"""docs/rfc.md and the sources agree on which RFCs are kept, and where."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CITED = re.compile(r"\bRFC (\d{3,5})\b")
# other spellings are not found by a search for "RFC 5321", nor by this test
MISSPELT = re.compile(r"\b(?:RFC(?:[-_]?| {2,})\d{3,5}|[Rr]fc(?: ?\d{4,5}| \d{3}))\b")
STATES = ("in force", "in part", "not yet", "demo")


@dataclass(frozen=True, slots=True)
class Row:
    """One RFC of the table."""

    number: int
    title: str
    state: str
    modules: tuple[str, ...]
    missing: str


def rows_of(text: str) -> list[Row]:
    """Read the lines that begin with `| RFC`."""
    rows = []
    for line in text.splitlines():
        if re.match(r"\| RFC \d", line):
            number, title, state, where, missing = (cell.strip() for cell in line.strip("|").split("|"))
            modules = tuple(re.findall(r"`([\w.]+)`", where))
            rows.append(Row(int(number.removeprefix("RFC ")), title, state, modules, missing))
    return rows


def sources() -> Iterator[tuple[str, str]]:
    """Yield name and text of every module, and of the SQL beside them."""
    for file in sorted([*(ROOT / "mta").rglob("*.py"), *(ROOT / "mta").rglob("*.sql")]):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, file.read_text(encoding="utf-8")


ROWS = rows_of((ROOT / "docs" / "rfc.md").read_text(encoding="utf-8"))
CITATIONS = {name: {int(number) for number in CITED.findall(text)} for name, text in sources()}
ids = [f"RFC {row.number}" for row in ROWS]


def test_every_rfc_that_a_source_cites_stands_in_the_table() -> None:
    known = {row.number for row in ROWS}
    unknown = {f"{name}: RFC {number}" for name, cited in CITATIONS.items() for number in cited - known}
    assert not unknown, f"add to docs/rfc.md, with its state: {', '.join(sorted(unknown))}"


def test_the_table_is_sorted_and_has_each_rfc_once() -> None:
    numbers = [row.number for row in ROWS]
    assert len(numbers) > 30
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_row_names_its_state_and_what_is_missing(row: Row) -> None:
    assert row.title
    assert row.state in STATES
    if row.state == "in part":
        assert row.missing, "say what is not done"


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_what_is_in_force_is_cited_where_the_table_says(row: Row) -> None:
    if row.state != "not yet":
        assert row.modules, "say which module keeps it"
    for module in row.modules:
        assert row.number in CITATIONS.get(module, set()), f"{module} does not exist or does not cite RFC {row.number}"
    if row.state == "demo":
        assert all(name.startswith("mta.demo") for name, cited in CITATIONS.items() if row.number in cited)


def test_every_citation_has_the_one_form() -> None:
    found = [f"{name}: {match[0]!r}" for name, text in sources() for match in MISSPELT.finditer(text)]
    assert not found, f"write `RFC 5321 §4.5.4.1`: {', '.join(found)}"


@pytest.mark.parametrize(
    ("text", "misspelt"),
    [
        ("RFC5321", True),
        ("RFC-5321", True),
        ("rfc 5321", True),
        ("rfc5321", True),
        ("RFC  5321", True),
        ("RFC 5321 §4.1", False),
        ("docs/rfc.md", False),
        ("rfc822;a@example.com", False),
    ],
)
def test_another_form_is_seen(text: str, misspelt: bool) -> None:
    assert bool(MISSPELT.search(text)) == misspelt


def test_a_row_is_read_from_its_line() -> None:
    (row,) = rows_of(
        "# x\n| RFC | Title |\n|---|---|\n| RFC 5321 | SMTP | in part | `mta.mail.reply`, `mta.queue` | VRFY |\n"
    )
    assert row == Row(5321, "SMTP", "in part", ("mta.mail.reply", "mta.queue"), "VRFY")
