"""What holds a delivery, by everything that can."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.cli.holding import Surroundings, holders
from mta.queue.model import Pause, PauseScope, SiteRest, State, Stream
from mta.storage.views import QueueRow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
ROW = QueueRow(
    id="d1",
    queue_id="q1",
    account="shop",
    stream=Stream.BULK,
    tag=None,
    message_id="<1@example.com>",
    reverse_path="app@example.com",
    size=100,
    accepted_at=NOW - timedelta(hours=1),
    recipient="a@example.net",
    domain="example.net",
    state=State.QUEUED,
    due_at=NOW,
    attempts=1,
    pool=None,
    site="mx.example.net",
    source=None,
    owner=None,
    lease_until=None,
    hold_reason=None,
    held_since=None,
    held_for=timedelta(0),
    return_path=None,
    reply=None,
    reply_host=None,
    release_at=None,
    expires_at=None,
    final_at=None,
    metadata=None,
)


def paused(scope: PauseScope, value: str = "") -> Surroundings:
    return Surroundings(pauses=(Pause("p", scope, value, "maintenance", "uid 0", NOW),))


def resting(site: str) -> Surroundings:
    return Surroundings(rests=(SiteRest(site, SOON, 4, "451 4.4.1 timed out"),))


def suspended(stream: str) -> Surroundings:
    return Surroundings(standings=(Standing("shop", stream, StandingState.SUSPENDED, "too many bounces"),))


@pytest.mark.parametrize(
    ("row", "around", "kinds", "said"),
    [
        (replace(ROW, due_at=SOON), Surroundings(), ["schedule"], "next attempt"),
        (replace(ROW, due_at=SOON, release_at=SOON), Surroundings(), ["release_time"], "its release time"),
        (ROW, Surroundings(), ["turn"], "does it run?"),
        (ROW, Surroundings(ahead={"d1": 7}), ["turn"], "its turn: 7 of the same account and stream are due before it"),
        (ROW, Surroundings(ahead={"d1": 10_000}), ["turn"], "10000 or more"),
        (
            ROW,
            paused(PauseScope.ALL),
            ["pause"],
            "everything is paused since 2026-11-22 12:00:00 by uid 0: maint",
        ),
        (ROW, paused(PauseScope.ACCOUNT, "shop"), ["pause"], "mta queue resume --account shop"),
        (ROW, paused(PauseScope.ACCOUNT, "other"), ["turn"], ""),
        (ROW, paused(PauseScope.STREAM, "bulk"), ["pause"], "mta queue resume --stream bulk"),
        (ROW, paused(PauseScope.STREAM, "transactional"), ["turn"], ""),
        (ROW, paused(PauseScope.SITE, "mx.example.net"), ["pause"], "mta queue resume --site mx.example.net"),
        (ROW, paused(PauseScope.SITE, "mx.example.org"), ["turn"], ""),
        (ROW, resting("mx.example.net"), ["rest"], "after 4 failed attempts: 451 4.4.1 timed out"),
        (ROW, resting("mx.example.org"), ["turn"], ""),
        (
            replace(ROW, site=None),
            replace(resting("mx.example.net"), sites={"d1": ("mx.example.net",)}),
            ["rest"],
            "site mx.example.net is left alone until 2026-11-22 12:05:00",
        ),
        (replace(ROW, due_at=SOON), resting("mx.example.net"), ["rest", "schedule"], ""),
        (ROW, resting("domain example.net"), ["rest"], "domain example.net is left alone until 2026-11-22 12:05:00"),
        (ROW, resting("domain example.org"), ["turn"], ""),
        (ROW, suspended(""), ["suspension"], "its account is suspended: too many bounces"),
        (ROW, suspended("bulk"), ["suspension"], "stream bulk is suspended"),
        (ROW, suspended("transactional"), ["turn"], ""),
        (replace(ROW, state=State.HELD, hold_reason="odd"), Surroundings(), ["held"], "odd"),
        (replace(ROW, state=State.HELD, hold_reason="exported e1"), Surroundings(), ["held"], "to another machine"),
        (replace(ROW, state=State.HELD, hold_reason="arriving e1"), Surroundings(), ["held"], "run mta queue import"),
        (
            replace(ROW, state=State.ACTIVE, owner=3, lease_until=SOON),
            Surroundings(),
            ["attempt"],
            "right now by worker 3 (lease until 2026-11-22 12:05:00)",
        ),
        (replace(ROW, state=State.DELIVERED), paused(PauseScope.ALL), [], ""),
    ],
)
def test_everything_that_holds_a_delivery_is_named(
    row: QueueRow, around: Surroundings, kinds: list[str], said: str
) -> None:
    found = holders(row, around, NOW)
    assert [one.kind for one in found] == kinds
    assert said in "; ".join(one.text for one in found)


def test_what_ends_by_itself_says_when() -> None:
    found = holders(replace(ROW, due_at=SOON), resting("mx.example.net"), NOW)
    assert [one.until for one in found] == [SOON, SOON]
