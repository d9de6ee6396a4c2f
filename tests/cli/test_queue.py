"""`mta queue list` and `show` on a store without a server."""

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command

SHAPE = [
    "id",
    "delivery",
    "state",
    "age",
    "accepted_at",
    "account",
    "stream",
    "tag",
    "sender",
    "recipient",
    "message_id",
    "size",
    "attempts",
    "due",
    "due_at",
    "site",
    "reply",
    "host",
    "hold_reason",
    "return_path",
    "final_at",
    "why",
]


def test_list_shows_a_line_for_each_delivery_that_waits(mta: Command, letterbox: dict[str, str]) -> None:
    answer = mta("queue", "list")
    head, *rows = answer.lines
    assert head.split() == ["ID", "STATE", "AGE", "ATTEMPTS", "DUE", "ACCOUNT", "RECIPIENT", "WHY"]
    assert len(rows) == 6
    (deferred,) = [row for row in rows if "bob@example.net" in row]
    assert deferred.split()[:2] == [letterbox["deferred"], "queued"]
    assert deferred.endswith("450 4.7.1 come back later")


def test_json_has_the_same_keys_in_every_row(mta: Command, letterbox: dict[str, str]) -> None:
    rows = mta("queue", "list", "--json").rows
    assert [list(row) for row in rows] == [SHAPE] * 6
    (held,) = [row for row in rows if row["id"] == letterbox["held"]]
    assert (held["state"], held["hold_reason"], held["due"], held["tag"]) == (
        "held",
        "looking into it",
        None,
        "spring",
    )


@pytest.mark.parametrize(
    ("selectors", "found"),
    [
        (["--id", "{waiting}"], ["waiting", "waiting"]),
        (["--state", "held"], ["held", "evil_held"]),
        (["--domain", "EXAMPLE.org"], ["held"]),
        (["--domain", "example.com"], ["waiting", "waiting"]),
        (["--site", "mx.example.net"], ["deferred"]),
        (["--tag", "spring"], ["held"]),
        (["--tag", "spring", "--state", "queued"], []),
        (["--account", "nobody"], []),
        (["--hold-reason", "looking"], ["held"]),
        (["--older-than", "1h"], []),
        (["--older-than", "0s", "--domain", "example.org"], ["held"]),
        (["--state", "delivered"], []),
        (["--id", ""], []),
    ],
    ids=" ".join,
)
def test_selectors_choose(mta: Command, letterbox: dict[str, str], selectors: list[str], found: list[str]) -> None:
    answer = mta("queue", "list", "--json", *(text.format(**letterbox) for text in selectors))
    assert answer.exit_code == 0
    assert sorted(row["id"] for row in answer.rows) == sorted(letterbox[name] for name in found)


def test_a_limit_says_that_there_is_more(mta: Command, letterbox: dict[str, str]) -> None:
    answer = mta("queue", "list", "--limit", "2")
    assert len(answer.lines) == 4
    assert answer.lines[-1].startswith("… and more")


@pytest.mark.parametrize("wrong", [["--older-than", "soon"], ["--older-than", "99999999d"], ["--state", "asleep"]])
def test_a_selector_that_is_none_is_wrong_usage(mta: Command, wrong: list[str]) -> None:
    assert mta("queue", "list", *wrong).exit_code == 2


def test_show_has_everything_of_one_message(mta: Command, letterbox: dict[str, str]) -> None:
    assert [row["recipient"] for row in mta("queue", "show", letterbox["waiting"], "--json").rows] == [
        "alice@example.com",
        "dave@example.com",
    ]
    assert ["hold", "reason", "looking", "into", "it"] in map(str.split, mta("queue", "show", letterbox["held"]).lines)


def test_show_of_what_is_unknown_is_a_negative_answer(mta: Command, letterbox: dict[str, str]) -> None:
    answer = mta("queue", "show", "nonsense")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "knows no message or delivery 'nonsense'; mta why finds" in answer.stderr


@pytest.mark.parametrize(
    "command", [["queue", "list"], ["queue", "show", "{evil}"], ["queue", "show", "{evil_held}"], ["queue", "stats"]]
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_foreign_text_never_reaches_a_terminal_raw(
    mta: Command, letterbox: dict[str, str], command: list[str], form: list[str]
) -> None:
    answer = mta(*(text.format(**letterbox) for text in command), *form)
    assert answer.exit_code == 0
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stdout)
