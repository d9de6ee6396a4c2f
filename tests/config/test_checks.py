"""What a check believes about other parts; the rest is in broken_files.txt."""

from mta.config.checks import LONGEST_WINDOW
from mta.storage.returned import COUNTS_KEPT


def test_the_longest_window_is_as_long_as_counts_are_kept() -> None:
    assert LONGEST_WINDOW == COUNTS_KEPT
