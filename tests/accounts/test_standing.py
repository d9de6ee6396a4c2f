"""Which moves follow from ratios and from an operator, and in which words they are told."""

from datetime import UTC, datetime, timedelta

import pytest

from mta.accounts.standing import Standing, State, moved, reinstated_by, suspended_by, told
from mta.reputation.rates import Evidence, Judgement, Limit, Measure

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=3)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
BOUNCES, COMPLAINTS = Limit(0.05, 0.10), Limit(0.001, 0.002)
GOOD, WARNED, SUSPENDED = State.GOOD, State.WARNED, State.SUSPENDED


def evidence(judgement: Judgement, part: int = 100, whole: int = 1000, window: timedelta = DAY) -> Evidence:
    return Evidence(Measure.BOUNCES, window, part, whole, BOUNCES, judgement)


@pytest.mark.parametrize(
    ("state", "judgement", "after"),
    [
        (GOOD, Judgement.GOOD, None),
        (GOOD, Judgement.WARN, WARNED),
        (GOOD, Judgement.SUSPEND, SUSPENDED),
        (WARNED, Judgement.GOOD, GOOD),
        (WARNED, Judgement.WARN, None),
        (WARNED, Judgement.SUSPEND, SUSPENDED),
        # only an operator ends it
        (SUSPENDED, Judgement.GOOD, None),
        (SUSPENDED, Judgement.WARN, None),
        (SUSPENDED, Judgement.SUSPEND, None),
    ],
)
def test_where_ratios_move_a_standing(state: State, judgement: Judgement, after: State | None) -> None:
    standing = Standing("app", "bulk", state, "something", BEFORE, epoch=3, by="alice" if state is GOOD else "")
    result = moved(standing, [evidence(judgement), evidence(Judgement.GOOD)], NOW)
    assert (None if result is None else result.state) == after
    if result is not None:
        assert (result.account, result.stream, result.since, result.epoch, result.by) == ("app", "bulk", NOW, 3, "")


def test_without_evidence_nothing_moves() -> None:
    assert moved(Standing("app", "bulk", WARNED), [], NOW) is None


def test_a_move_by_ratios_says_which_and_a_lapse_says_nothing() -> None:
    suspension = moved(Standing("app", "bulk"), [evidence(Judgement.SUSPEND)], NOW)
    lapse = moved(Standing("app", "bulk", WARNED, "bad"), [evidence(Judgement.GOOD)], NOW)
    assert suspension is not None
    assert suspension.reason == "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"
    assert lapse is not None
    assert lapse.reason == ""


@pytest.mark.parametrize("state", list(State))
def test_an_operator_suspends_whoever_it_is_and_the_counts_go_on(state: State) -> None:
    after = suspended_by(Standing("app", "", state, "x", BEFORE, epoch=2), "alice", "stolen password", NOW)
    assert after == Standing("app", "", SUSPENDED, "stolen password", NOW, 2, "alice")


@pytest.mark.parametrize("state", list(State))
def test_an_operators_reinstatement_begins_a_new_epoch(state: State) -> None:
    after = reinstated_by(Standing("app", "bulk", state, "x", BEFORE, epoch=2), "alice", "list cleaned", NOW)
    assert after == Standing("app", "bulk", GOOD, "list cleaned", NOW, 3, "alice")


@pytest.mark.parametrize(
    ("measure", "judgement", "part", "whole", "window", "words"),
    [
        (
            Measure.BOUNCES,
            Judgement.SUSPEND,
            100,
            1000,
            DAY,
            "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%",
        ),
        (
            Measure.BOUNCES,
            Judgement.WARN,
            6,
            100,
            WEEK,
            "hard bounces are 6.0% (6 of 100) in the last 7 days, the limit is 5.0%",
        ),
        (
            Measure.COMPLAINTS,
            Judgement.SUSPEND,
            3,
            1000,
            2 * DAY,
            "complaints are 3.00 in 1,000 (3 of 1000) in the last 48 hours, the limit is 2 in 1,000",
        ),
        # barely above the limit still reads so, and far above it is a number
        (
            Measure.COMPLAINTS,
            Judgement.SUSPEND,
            41,
            20_000,
            WEEK,
            "complaints are 2.05 in 1,000 (41 of 20000) in the last 7 days, the limit is 2 in 1,000",
        ),
        (
            Measure.COMPLAINTS,
            Judgement.SUSPEND,
            150,
            600,
            timedelta(minutes=90),
            "complaints are 250.00 in 1,000 (150 of 600) in the last 1.5 hours, the limit is 2 in 1,000",
        ),
        (
            Measure.COMPLAINTS,
            Judgement.WARN,
            2,
            1000,
            DAY,
            "complaints are 2.00 in 1,000 (2 of 1000) in the last 24 hours, the limit is 1 in 1,000",
        ),
    ],
)
def test_ratio_and_limit_in_words(
    measure: Measure, judgement: Judgement, part: int, whole: int, window: timedelta, words: str
) -> None:
    limit = BOUNCES if measure is Measure.BOUNCES else COMPLAINTS
    assert told(Evidence(measure, window, part, whole, limit, judgement)) == words
