"""`mta queue` on a store without a server, and beside a running one."""

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command
from tests.cli.waiting import attempts, eventually, submitted_and_deferred
from tests.scenarios.house import House

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


def test_stats_count_by_state_and_domain(mta: Command, letterbox: dict[str, str]) -> None:
    rows = mta("queue", "stats", "--json").rows
    states = {row["state"]: row["deliveries"] for row in rows if "state" in row}
    assert (states["queued"], states["held"]) == (4, 2)
    domains = {row["domain"]: row["deliveries"] for row in rows if "domain" in row}
    assert domains == {"example.net": 3, "example.com": 2, "example.org": 1}
    assert [key for key in rows[-1] if key.startswith("up_to")] == ["up_to_15m", "up_to_4h", "up_to_1d"]
    assert mta("queue", "stats").lines[0].split() == ["STATE", "DELIVERIES", "OLDEST"]


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


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "cancel"])
def test_a_change_without_a_selector_is_refused_before_a_server_is_asked(mta: Command, verb: str) -> None:
    answer = mta("queue", verb, "--reason", "why not")
    assert answer.exit_code == 2
    assert "--id or --domain, or --all" in answer.stderr


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "cancel"])
def test_a_change_needs_a_running_server(mta: Command, letterbox: dict[str, str], verb: str) -> None:
    answer = mta("queue", verb, "--id", letterbox["held"], "--reason", "why not")
    assert answer.exit_code == 69
    assert answer.stderr.endswith("start it with: mta serve\n")


def test_to_hold_wants_a_reason(live: Command) -> None:
    assert live("queue", "hold", "--id", "x").exit_code == 2


def test_hold_release_and_cancel_change_a_running_queue(live: Command, house: House) -> None:
    queue_id = submitted_and_deferred(live, house, "one@example.net", "two@example.net")

    def states() -> list[str]:
        return [row["state"] for row in live("queue", "list", "--id", queue_id, "--json").rows]

    held = live("queue", "hold", "--id", queue_id, "--reason", "looking into it")
    assert (held.exit_code, held.stdout, states()) == (0, "hold: 2 deliveries\n", ["held", "held"])
    released = live("queue", "release", "--id", queue_id, "--state", "held", "--json")
    assert released.row == {"changed": 2, "active": 0, "other": 0}
    # released ones are tried at once, and deferred once more
    eventually(lambda: attempts(live, queue_id) == [2, 2])
    cancelled = live("queue", "cancel", "--id", queue_id)
    assert (cancelled.exit_code, states()) == (0, ["cancelled", "cancelled"])


def test_retry_makes_what_waits_due_at_once(live: Command, house: House) -> None:
    queue_id = submitted_and_deferred(live, house, "again@example.net")
    assert live("queue", "retry", "--id", queue_id).exit_code == 0

    eventually(lambda: attempts(live, queue_id) == [2], seconds=3)


def test_nothing_changed_is_a_negative_answer(live: Command) -> None:
    answer = live("queue", "release", "--id", "nonsense", "--json")
    assert (answer.exit_code, answer.row) == (1, {"changed": 0, "active": 0, "other": 0})


def test_what_is_in_another_state_is_counted_apart(live: Command, house: House) -> None:
    queue_id = submitted_and_deferred(live, house, "apart@example.net")
    answer = live("queue", "release", "--id", queue_id)
    assert answer.exit_code == 1
    assert answer.lines == ["release: 0 deliveries", "1 are in a state that does not allow it"]


def test_older_than_reaches_the_server_as_a_span(live: Command, house: House) -> None:
    queue_id = submitted_and_deferred(live, house, "young@example.net")
    assert live("queue", "cancel", "--id", queue_id, "--older-than", "1h").exit_code == 1
    assert live("queue", "cancel", "--id", queue_id, "--older-than", "0s").exit_code == 0
