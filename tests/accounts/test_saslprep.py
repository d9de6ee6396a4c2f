import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.accounts.saslprep import prepare


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # the examples of RFC 4013 §3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # others
        ("", ""),
        ("a\u00a0b\u3000c", "a b c"),
        ("e\u0301", "é"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("\u05d01\u05d1", "\u05d01\u05d1"),
    ],
)
def test_what_looks_alike_becomes_the_same(text: str, prepared: str) -> None:
    assert prepare(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u0627\u0031", "a\nb", "\x00", "\x7f", "\ue000", "\ud800", "\u200e", "\u05d0a\u05d1"]
)
def test_what_must_not_be_in_it_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="RFC") as refused:
        prepare(text)
    assert text not in str(refused.value)


def test_a_letter_of_later_days_can_be_asked_for_but_not_kept() -> None:
    assert prepare("\U0001f600") == "\U0001f600"
    with pytest.raises(ValueError, match=r"Unicode 3\.2"):
        prepare("\U0001f600", stored=True)


@given(st.text())
def test_a_prepared_text_stays_as_it_is(text: str) -> None:
    try:
        prepared = prepare(text, stored=True)
    except ValueError:
        return
    assert prepare(prepared, stored=True) == prepared
