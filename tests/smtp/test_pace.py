import pytest

from mta.smtp.pace import Pace


def test_a_client_that_keeps_the_pace_has_a_new_window_each_time() -> None:
    pace = Pace(100, 10, 0)
    assert pace.left(0) == 10
    pace.came(999, 9)
    assert pace.left(9) == 1
    pace.came(1, 9.5)
    assert pace.left(9.5) == 10


def test_one_that_trickles_has_no_time_left() -> None:
    pace = Pace(100, 10, 0)
    for second in range(10):
        pace.came(99, second)
    assert pace.left(10) == 0


def test_a_burst_does_not_pay_for_a_silence_later() -> None:
    pace = Pace(100, 10, 0)
    pace.came(10**9, 5)
    assert pace.left(14) == 1
    assert pace.left(15) == 0


def test_a_pause_of_ours_is_forgiven() -> None:
    pace = Pace(100, 10, 0)
    pace.came(1, 9)
    pace.begin(60)
    assert pace.left(61) == 9


def test_octets_that_we_read_late_are_not_held_against_the_client() -> None:
    pace = Pace(100, 10, 0)
    pace.came(1, 11)
    assert pace.left(11) == 10


@pytest.mark.parametrize("rate", [None, 0])
def test_without_a_rate_it_takes_as_long_as_it_takes(rate: int | None) -> None:
    assert Pace(rate, 10, 0).left(1000) is None
