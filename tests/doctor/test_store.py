"""What the store tells of trouble."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mta.doctor.finding import Verdict
from mta.doctor.store import Waiting, soundness, standstill
from mta.queue.model import Pause, PauseScope, SiteRest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
QUIET = Waiting((), (), (), 0, None)
PAUSED = replace(QUIET, pauses=(Pause("p", PauseScope.ALL, "", "maintenance", "uid 0", NOW),))


def late() -> Sequence[str]:
    raise TimeoutError


def test_a_file_is_sound_damaged_or_too_large_to_tell() -> None:
    assert soundness("queue.db", tuple)[0].verdict is Verdict.OK
    (damaged,) = soundness("queue.db", lambda: ("row 3 missing from index",))
    assert (damaged.verdict, "row 3 missing" in damaged.what) == (Verdict.FAIL, True)
    (skipped,) = soundness("queue.db", late)
    assert (skipped.verdict, "--store-limit" in skipped.remedy) == (Verdict.SKIPPED, True)


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (PAUSED, "everything is paused since 2026-11-22 12:00 by uid 0: maintenance"),
        (
            replace(PAUSED, pauses=(Pause("p", PauseScope.SITE, "mx.example", "x", "uid 0", NOW),)),
            "site mx.example is paused",
        ),
        (replace(QUIET, rests=(SiteRest("mx.example", NOW, 3, "timed out"),)), "timed out"),
        (replace(QUIET, suspended=("shop/bulk",)), "is suspended"),
        (replace(QUIET, held=3), "3 deliveries are held"),
        (replace(QUIET, doubted={"mx.example": 7}), "7 hard bounces suppress nobody and count in no ratio yet"),
        (replace(QUIET, due_since=NOW - timedelta(hours=1)), "something is due since 2026-11-22 11:00:00"),
    ],
)
def test_what_keeps_mail_from_going_is_told(waiting: Waiting, said: str) -> None:
    (found,) = standstill(waiting, NOW, is_running=True)
    assert (found.verdict, said in found.what) == (Verdict.WARN, True), found


@pytest.mark.parametrize(
    ("waiting", "is_running"),
    [
        (QUIET, True),
        (replace(QUIET, due_since=NOW - timedelta(minutes=1)), True),
        (replace(QUIET, due_since=NOW + timedelta(hours=1)), True),
        (replace(QUIET, due_since=NOW - timedelta(hours=1)), False),
    ],
)
def test_what_moves_or_need_not_is_fine(waiting: Waiting, is_running: bool) -> None:
    (found,) = standstill(waiting, NOW, is_running=is_running)
    assert found.verdict is Verdict.OK
