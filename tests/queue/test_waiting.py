"""What stands in the way of a delivery, as a table."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.queue.model import Pause, PauseScope, SiteRest, State
from mta.queue.waiting import Cause, why_waiting
from tests.fakes.clock import START, FakeClock
from tests.fakes.letters import Letters

SOON, BEFORE = START + timedelta(minutes=5), START - timedelta(minutes=5)
MX = "mx.example.net"
SUSPENDED = Standing("app", "", StandingState.SUSPENDED, "complaints are 0.3 %")
REST = SiteRest(MX, SOON, 3, "451 4.4.1 Connection refused")


def pause(scope: PauseScope, value: str) -> Pause:
    return Pause("p", scope, value, "maintenance", "root", START)


@pytest.mark.parametrize(
    ("delivery", "pauses", "rests", "standing", "causes"),
    [
        ({"state": State.DELIVERED}, [], [REST], None, [Cause.FINAL]),
        ({"state": State.HELD, "hold_reason": "route"}, [pause(PauseScope.ALL, "")], [REST], None, [Cause.HELD]),
        ({"state": State.ACTIVE}, [], [], None, [Cause.ACTIVE]),
        ({"due_at": SOON}, [], [], None, [Cause.SCHEDULE]),
        ({"due_at": BEFORE}, [], [], None, [Cause.TURN]),
        ({"due_at": BEFORE}, [], [REST], None, [Cause.BACK_OFF]),
        ({"due_at": BEFORE}, [], [replace(REST, until=BEFORE)], None, [Cause.TURN]),
        ({"due_at": BEFORE}, [], [replace(REST, site="other")], None, [Cause.TURN]),
        ({"due_at": SOON}, [], [REST], SUSPENDED, [Cause.SUSPENDED, Cause.SCHEDULE, Cause.BACK_OFF]),
        ({"due_at": BEFORE}, [pause(PauseScope.ALL, "")], [], None, [Cause.PAUSED]),
        ({"due_at": BEFORE}, [pause(PauseScope.SITE, MX)], [], None, [Cause.PAUSED]),
        ({"due_at": BEFORE}, [pause(PauseScope.SITE, "other")], [], None, [Cause.TURN]),
        ({"due_at": BEFORE}, [pause(PauseScope.ACCOUNT, "app")], [], None, [Cause.PAUSED]),
        ({"due_at": BEFORE}, [pause(PauseScope.ACCOUNT, "other")], [], None, [Cause.TURN]),
        ({"due_at": BEFORE}, [pause(PauseScope.STREAM, "bulk")], [], None, [Cause.TURN]),
    ],
)
def test_all_that_stands_in_the_way_is_told_the_weightiest_first(
    delivery: dict[str, Any],
    pauses: list[Pause],
    rests: list[SiteRest],
    standing: Standing | None,
    causes: list[Cause],
) -> None:
    new = Letters(FakeClock()).new()
    one = replace(new.deliveries[0], **({"site": MX} | delivery))
    assert [wait.cause for wait in why_waiting(new.message, one, pauses, rests, standing, START)] == causes


def test_a_time_that_the_submitter_asked_for_is_no_retry() -> None:
    new = Letters(FakeClock()).new()
    message = replace(new.message, release_at=SOON)
    (wait,) = why_waiting(message, replace(new.deliveries[0], due_at=SOON), [], [], None, START)
    assert (wait.cause, wait.until) == (Cause.RELEASE, SOON)


def test_the_words_say_who_and_why() -> None:
    new = Letters(FakeClock()).new()
    one = replace(new.deliveries[0], site=MX)
    paused, rests = why_waiting(new.message, one, [pause(PauseScope.ACCOUNT, "app")], [REST], None, START)
    assert paused.words == "account app is paused by root since 2026-11-22 12:00 UTC: maintenance"
    assert rests.words.endswith("3 failures in a row, the last one: 451 4.4.1 Connection refused")
