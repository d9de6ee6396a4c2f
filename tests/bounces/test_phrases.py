"""Phrases and how text is folded for them."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.bounces.phrases import MAX_FOLDED, Phrase, fold


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("user unknown", "550 5.1.1 User\n   unknown in table", True),
        ("rbl", "listed in RBL.example", True),
        ("rbl", "a marble", False),
        ("undeliver", "Undeliverable: hello", True),
        ("mailbox * full", "mailbox of kay is full", True),
        ("mailbox * full", "full mailbox", False),
        ("mailbox * full", f"mailbox {'x' * 100} full", False),
        ("<> not found", "<kay@dest.example> not found", True),
        ("doesn't exist", "The user doesn’t exist", True),
        ("boite pleine", "Boîte pleine", True),
        ("到期", "邮箱到期", True),
        ("does not exist", "550-5.1.1 does not 550-5.1.1 exist", True),
    ],
)
def test_a_phrase_is_found_in(phrase: str, text: str, found: bool) -> None:
    assert Phrase.parse(phrase).is_in(fold(text)) is found


def test_a_later_occurrence_is_tried_when_the_rest_does_not_follow_the_first() -> None:
    assert Phrase.parse("host * down").is_in(f"host {'x' * 90} host is down")


@pytest.mark.parametrize("text", ["", " ", " * ", "'"])
def test_a_phrase_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no words"):
        Phrase.parse(text)


@example("\U0001d4d0")
@given(st.text(max_size=300))
def test_folding_twice_is_folding_once(text: str) -> None:
    once = fold(text)
    assert "\n" not in once
    # an address or a code may show only once the letters around it are folded
    assert fold(once) == once or "<>" in once or "@" in once or any(letter.isdigit() for letter in once)


def test_folding_and_finding_take_linear_time() -> None:
    started = time.perf_counter()
    for text in ("a@" * MAX_FOLDED, "host " * MAX_FOLDED, "550-5.1.1 " * MAX_FOLDED, "<" * MAX_FOLDED):
        Phrase.parse("host * host * host * down").is_in(fold(text))
    assert time.perf_counter() - started < 1
