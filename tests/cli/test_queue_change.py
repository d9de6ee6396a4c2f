"""`mta queue retry|hold|release|cancel|pause|resume`: refused without a server, done beside a running one."""

import pytest

from tests.cli.command import Command
from tests.cli.waiting import attempts, eventually, submitted_and_deferred
from tests.scenarios.house import House


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cancel", "--all"], "cancel: would change 6 deliveries"),
        (["hold", "--all"], "hold: would change 4 deliveries"),
        (["release", "--state", "held"], "release: would change 2 deliveries"),
        (["retry", "--domain", "example.NET"], "retry: would change 2 deliveries"),
        (["cancel", "--tag", "spring"], "cancel: would change 1 deliveries"),
        (["hold", "--account", "nobody"], "hold: would change 0 deliveries"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_dry_run_counts_without_a_server_and_changes_nothing(
    mta: Command, letterbox: dict[str, str], arguments: list[str], said: str
) -> None:
    before = mta("queue", "list", "--json").rows
    answer = mta("queue", *arguments, "--dry-run")
    assert (answer.exit_code, answer.lines[0]) == (0, said)
    after = mta("queue", "list", "--json").rows
    assert [row["state"] for row in after] == [row["state"] for row in before]


def test_to_end_everything_has_to_be_meant(mta: Command, letterbox: dict[str, str]) -> None:
    answer = mta("queue", "cancel", "--all")
    assert answer.exit_code == 2
    assert "would end 6 deliveries, and nobody would be told: add --yes" in answer.stderr


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("wrong", [[], ["--account", "app", "--all"], ["--stream", "river"]])
def test_a_pause_is_of_one_thing(mta: Command, verb: str, wrong: list[str]) -> None:
    assert mta("queue", verb, *wrong, "--reason", "x").exit_code == 2


def test_a_pause_wants_a_reason(mta: Command) -> None:
    answer = mta("queue", "pause", "--all")
    assert (answer.exit_code, "--reason" in answer.stderr) == (2, True)


def test_without_a_server_a_pause_cannot_be_made_and_can_be_looked_for(mta: Command, letterbox: dict[str, str]) -> None:
    assert mta("queue", "pause", "--all", "--reason", "x").exit_code == 69
    assert mta("queue", "pause", "--list").stdout == "nothing is paused\n"


def test_what_is_paused_is_listed_and_can_be_resumed_once(live: Command) -> None:
    made = live("queue", "pause", "--site", "MX.elsewhere.example", "--reason", "they asked us to")
    assert (made.exit_code, made.stdout) == (0, "site mx.elsewhere.example is paused\n")
    again = live("queue", "pause", "--site", "mx.elsewhere.example", "--reason", "again")
    assert (again.exit_code, again.stdout) == (1, "site mx.elsewhere.example was paused already\n")
    (row,) = live("queue", "pause", "--list", "--json").rows
    assert (row["scope"], row["value"], row["reason"]) == ("site", "mx.elsewhere.example", "they asked us to")
    assert live("queue", "resume", "--site", "mx.elsewhere.example", "--json").row["changed"] is True
    assert live("queue", "resume", "--site", "mx.elsewhere.example").exit_code == 1
    assert live("queue", "pause", "--list", "--json").rows == []


def test_an_account_that_does_not_exist_cannot_be_paused(live: Command) -> None:
    answer = live("queue", "pause", "--account", "shopp", "--reason", "x")
    assert (answer.exit_code, "there is no account 'shopp'" in answer.stderr) == (1, True)
