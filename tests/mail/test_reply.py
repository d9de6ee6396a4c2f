"""Replies: ours are well formed whatever they quote, those of others are harmless whatever they say."""

import inspect
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail import failures
from mta.mail.reply import MAX_LINE, MAX_TEXT, EnhancedStatus, Reply, clean

any_text = st.text(st.characters(codec=None, categories=None), max_size=200)
plain_text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=60)

# functions are given a text for each of their parameters
OURS = {name: value for name, value in vars(failures).items() if isinstance(value, Reply)} | {
    name: value(*("x" for _ in inspect.signature(value).parameters))
    for name, value in vars(failures).items()
    if inspect.isfunction(value)
}


@pytest.mark.parametrize("text", ["2.0.0", "4.7.10", "5.1.1", "5.999.999"])
def test_an_enhanced_status_is_read_and_printed(text: str) -> None:
    assert str(EnhancedStatus.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "5.1", "5.1.1.1", "3.1.1", "5.1.1000", "5.1.1 ", "5.1.1\n", "x5.1.1", "5.١.1", "5.-1.1", "5..1"]
)
def test_what_is_no_enhanced_status_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not an enhanced status code") as raised:
        EnhancedStatus.parse(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("code", [-1, 0, 199, 600, 2500])
def test_a_code_out_of_range_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="is not a reply code"):
        Reply(code, None, "")
    with pytest.raises(ValueError, match="is not a reply code"):
        Reply.parse(code, ["x"])


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [
        (250, True, False, False),
        (354, True, False, False),
        (400, False, True, False),
        (499, False, True, False),
        (500, False, False, True),
        (599, False, False, True),
    ],
)
def test_a_reply_is_exactly_one_of_positive_transient_permanent(
    code: int, positive: bool, transient: bool, permanent: bool
) -> None:
    reply = Reply(code, None, "x")
    assert (reply.is_positive, reply.is_transient, reply.is_permanent) == (positive, transient, permanent)


@pytest.mark.parametrize(
    ("code", "texts", "status", "text"),
    [
        (250, ["2.1.5 Ok"], "2.1.5", "Ok"),
        (250, ["Ok"], None, "Ok"),
        (250, [], None, ""),
        (250, [""], None, ""),
        (550, ["5.1.1"], "5.1.1", ""),
        (
            550,
            ["5.1.1 no such user", "5.1.1 see https://example.net/"],
            "5.1.1",
            "no such user\nsee https://example.net/",
        ),
        (550, ["5.7.1 no", "5.7.26 really"], "5.7.1", "no\nreally"),
        (550, ["first", "5.7.1 second"], "5.7.1", "first\nsecond"),
        (550, ["4.2.2 of another class"], None, "4.2.2 of another class"),
        (451, ["4.7.1\tafter a tab"], "4.7.1", "after a tab"),
        (550, ["5.1.1no blank"], None, "5.1.1no blank"),
        (550, ["5.1.1.2 is no code"], None, "5.1.1.2 is no code"),
        (550, ["192.0.2.1 is listed"], None, "192.0.2.1 is listed"),
        (550, ["5.01.001 with zeros"], "5.1.1", "with zeros"),
        (550, ["a\rb\nc\x00d\x1b[31me\x85f\u2028g\u202eh\ud800i"], None, "a?b?c?d?[31me?f?g?h?i"),
        (220, ["2.0.0 Grüße"], "2.0.0", "Grüße"),
        (550, ["", "", ""], None, ""),
    ],
)
def test_what_a_host_said_is_read_and_cleaned(code: int, texts: list[str], status: str | None, text: str) -> None:
    reply = Reply.parse(code, texts)
    assert reply.status == (EnhancedStatus.parse(status) if status else None)
    assert reply.text == text


@given(st.integers(200, 599), st.lists(any_text, max_size=5))
def test_any_reply_of_a_host_is_harmless_and_bounded(code: int, texts: list[str]) -> None:
    reply = Reply.parse(code, texts)
    str(reply).encode()
    assert "\n" not in str(reply)
    assert not set(reply.text) & set("\r\x00\x1b\x7f\x85\u2028\u202e")
    assert len(reply.text) <= MAX_TEXT
    if reply.status:
        assert reply.status.klass == code // 100


def test_an_endless_reply_is_cut() -> None:
    began = time.perf_counter()
    assert len(Reply.parse(550, ["5.1.1 " + "x" * 1_000_000, "5." * 500_000]).text) == MAX_TEXT
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Reply.of(550, "5.7.1", "Not yours"), "550 5.7.1 Not yours"),
        (Reply(550, None, "Not yours"), "550 Not yours"),
        (Reply(354, None, ""), "354"),
        (Reply.parse(550, ["5.1.1 one", "5.1.1 two"]), "550 5.1.1 one two"),
    ],
)
def test_a_reply_is_printed_on_one_line(reply: Reply, line: str) -> None:
    assert str(reply) == line


def test_every_line_of_a_reply_carries_its_codes() -> None:
    assert Reply.parse(550, ["5.1.1 one", "two"]).lines() == ["550-5.1.1 one", "550 5.1.1 two"]


@given(st.integers(200, 599), st.booleans(), st.lists(plain_text, min_size=1, max_size=4))
def test_the_lines_of_a_reply_read_back_as_the_reply(code: int, with_status: bool, texts: list[str]) -> None:
    if code // 100 == 3:
        with_status = False
    status = EnhancedStatus(code // 100, 1, 1) if with_status else None
    reply = Reply(code, status, "\n".join(texts).rstrip("\n"))
    if not with_status and Reply.parse(code, texts).status:
        return  # a text that begins like a code is one when read
    lines = reply.lines()
    assert Reply.parse(code, [line[4:] for line in lines]) == reply
    assert [line[3] for line in lines] == ["-"] * (len(lines) - 1) + [" "]


@given(any_text)
def test_whatever_our_replies_quote_they_stay_one_line_within_the_limit(text: str) -> None:
    for reply in (failures.bad_sender(text), failures.bad_recipient(text * 20), failures.unknown_parameter(text)):
        (line,) = reply.lines()
        assert len(line.encode()) <= MAX_LINE
        assert "\r" not in line


def test_a_line_that_is_too_long_is_cut_between_letters() -> None:
    (line,) = Reply.of(550, "5.7.1", "ü" * 600).lines()
    assert len(line.encode()) == MAX_LINE
    assert line == "550 5.7.1 " + "ü" * 250


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_reply_of_ours_has_a_status_of_its_codes_class_and_a_text(name: str) -> None:
    reply = OURS[name]
    # an intermediate reply has none: there is no class 3 (RFC 3463 §2)
    assert (reply.status.klass if reply.status else 3) == reply.code // 100
    assert reply.text.isascii()
    assert reply.text.strip() == reply.text != ""


def test_clean_keeps_what_people_write() -> None:
    assert clean("Grüße, 你好, مرحبا, 👋") == "Grüße, 你好, مرحبا, 👋"
