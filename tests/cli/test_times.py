"""Spans as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from mta.cli.times import age, spelled, until


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (61, "1m1s"),
        (3600, "1h"),
        (3660, "1h1m"),
        (3601, "1h"),
        (86400, "1d"),
        (90000, "1d1h"),
        (400 * 86400, "400d"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert spelled(timedelta(seconds=seconds)) == text


def test_ages_and_times_to_come_count_from_now() -> None:
    now = datetime.now(UTC)
    assert age(None) is None
    assert age(now - timedelta(hours=2, minutes=5, seconds=5)) == "2h5m"
    assert until(now - timedelta(seconds=1)) == "now"
    assert until(now + timedelta(hours=2, minutes=5, seconds=30)) == "in 2h5m"
