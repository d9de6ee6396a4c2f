"""`mta audit`: what operators changed."""

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command


def test_it_shows_who_did_what_and_why_newest_first(mta: Command, letterbox: dict[str, str]) -> None:
    rows = mta("audit", "--json").rows
    assert [row["target"] for row in rows] == [f"--id {letterbox['evil_held']}", f"--id {letterbox['held']}"]
    assert (rows[1]["who"], rows[1]["action"], rows[1]["reason"]) == ("uid 0", "queue hold", "looking into it")
    assert rows[1]["detail"] == {"changed": 1, "active": 0, "other": 0}


@pytest.mark.parametrize(
    ("options", "count"),
    [(["--action", "queue"], 2), (["--action", "account"], 0), (["--since", "1h"], 2), (["--since", "0s"], 0)],
)
def test_it_can_be_narrowed(mta: Command, letterbox: dict[str, str], options: list[str], count: int) -> None:
    assert len(mta("audit", "--json", *options).rows) == count


def test_a_limit_says_that_there_is_more(mta: Command, letterbox: dict[str, str]) -> None:
    assert mta("audit", "--limit", "1").lines[-1] == "… and more; --limit shows them"


def test_foreign_text_never_reaches_a_terminal_raw(mta: Command, letterbox: dict[str, str]) -> None:
    assert not UNFIT_FOR_A_TERMINAL.search(mta("audit").stdout)
