"""How many are claimed next."""

import pytest

from mta.queue.pace import Pace


@pytest.mark.parametrize(
    ("batch", "claimed", "in_vain", "expected"),
    [(200, 200, 180, 100), (20, 20, 20, 10), (10, 10, 10, 10), (50, 50, 0, 100), (200, 200, 0, 200), (50, 50, 5, 50)],
)
def test_a_claim_is_as_large_as_the_last_ones_were_of_use(
    batch: int, claimed: int, in_vain: int, expected: int
) -> None:
    assert Pace(batch=200).next_batch(batch, claimed, in_vain) == expected


def test_bulk_never_has_all_connections() -> None:
    assert Pace(at_once=100).bulk_at_once == 75
    assert Pace(at_once=1).bulk_at_once == 1
