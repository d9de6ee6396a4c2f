"""Report tokens: only the keyring's holder can make, read or change one."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.report_token import ReportClaim, ReportTokens
from mta.mail.token import Keyring

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
RING = Keyring.new(b"s" * 32, NOW)

CLAIM = ReportClaim("1jmbq8w5r00karn2", "shop", "bulk", "zoë@example.net")


def test_a_report_token_says_what_was_sealed() -> None:
    tokens = ReportTokens(RING)
    assert tokens.open(tokens.seal(CLAIM)) == CLAIM
    assert "shop" not in tokens.seal(CLAIM)


def test_a_report_token_outlives_a_rotation_and_folding() -> None:
    old = ReportTokens(RING).seal(CLAIM)
    ring = RING.with_new(b"n" * 32, datetime(2026, 12, 1, tzinfo=UTC))
    assert ReportTokens(ring).open(f" {old[:40]}\r\n\t{old[40:]}") == CLAIM


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: t[:-4],
        lambda t: "01" + t[2:],
        lambda t: t[:9] + "A" + t[10:],
        lambda t: "",
        lambda t: "é" + t,
        lambda t: t[:2] + "é",
    ],
)
def test_a_report_token_that_was_changed_says_nothing(change: Callable[[str], str]) -> None:
    token = ReportTokens(RING).seal(CLAIM)
    if change(token) != token:
        with pytest.raises(ValueError, match="not a report token"):
            ReportTokens(RING).open(change(token))


@given(st.text(max_size=200))
def test_no_text_opens_as_a_report_token(text: str) -> None:
    with pytest.raises(ValueError, match="not a report token"):
        ReportTokens(RING).open(text)
