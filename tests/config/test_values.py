"""Durations, sizes, rates, shares and secrets as they are written in the configuration."""

import pickle
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, strategies
from pydantic import BaseModel, ValidationError

from mta.config.values import (
    Duration,
    Expiry,
    MaxAge,
    MaxAgeField,
    Rate,
    Secret,
    Share,
    Size,
    Workers,
    format_duration,
    parse_duration,
    parse_share,
    parse_size,
)
from mta.config.values import given as shown


@given(strategies.integers(0, 10**11))
def test_a_printed_duration_is_read_back(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@given(strategies.integers(1, 10**12 - 1), strategies.sampled_from("smhd"))
def test_a_printed_rate_is_read_back(count: int, unit: str) -> None:
    rate = Rate.parse(f"{count}/{unit}")
    assert Rate.parse(str(rate)) == rate
    assert rate.count == count


@given(strategies.text())
def test_any_text_gives_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_share, Rate.parse):
        with suppress(ValueError):
            assert parse(text) is not None


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("4h", timedelta(hours=4)),
        ("4d", timedelta(days=4)),
        ("2w", timedelta(weeks=2)),
        ("250ms", timedelta(milliseconds=250)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "5", "d", "-5m", "5 m", "5M", "1.5h", "1h30m", "٥m", "5m\n", "9" * 13 + "s"])
def test_what_is_no_duration_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_a_duration_beyond_all_calendars_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="below 2,700,000 years"):
        parse_duration("999999999999w")


@pytest.mark.parametrize(
    ("text", "octets"), [("25MB", 25_000_000), ("1KiB", 1024), ("0B", 0), ("3GB", 3 * 10**9), ("1TiB", 2**40)]
)
def test_sizes_are_decimal_unless_binary_is_said(text: str, octets: int) -> None:
    assert parse_size(text) == octets


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r'expected a rate of at least 1, got "0/h"'):
        Rate.parse("0/h")


@pytest.mark.parametrize(("text", "fraction"), [("5%", 0.05), ("0%", 0.0), ("100%", 1.0), ("12.5%", 0.125)])
def test_a_share_becomes_a_fraction(text: str, fraction: float) -> None:
    assert parse_share(text) == pytest.approx(fraction)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", '"x"'),
        ("a\nb\x1b", '"a\\u000ab\\u001b"'),
        ("y" * 80, '"' + "y" * 57 + '..."'),
        (True, "true"),
        (4, "the number 4"),
        ([], "a list"),
        ({}, "a table"),
    ],
)
def test_a_message_shows_a_value_in_safe_characters(value: object, text: str) -> None:
    assert shown(value) == text


class _Fields(BaseModel):
    span: Duration = timedelta()
    size: Size = 1
    share: Share = 0.5
    age: MaxAgeField = MaxAge(timedelta(1), timedelta(1))
    expiry: Expiry = None
    workers: Workers = "auto"


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("size", 1000, 1000),
        ("share", 0.25, 0.25),
        ("age", "2d", MaxAge(timedelta(2), timedelta(2))),
        ("age", {"bulk": "2d"}, MaxAge(timedelta(4), timedelta(2))),
        ("age", {"transactional": "1d", "bulk": "2d"}, MaxAge(timedelta(1), timedelta(2))),
        ("expiry", "never", None),
        ("expiry", "30d", timedelta(30)),
        ("workers", 2, 2),
        ("workers", "auto", "auto"),
    ],
)
def test_fields_take_their_ways_of_writing(key: str, value: object, result: object) -> None:
    assert getattr(_Fields.model_validate({key: value}), key) == result


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("span", 5),
        ("size", True),
        ("size", "0B"),
        ("share", 5.0),
        ("share", float("nan")),
        ("share", 5),
        ("age", {"marketing": "1d"}),
        ("age", {"bulk": {"bulk": "1d"}}),
        ("age", "0s"),
        ("expiry", 5),
        ("expiry", "0s"),
        ("workers", 0),
        ("workers", True),
        ("workers", "many"),
    ],
)
def test_fields_refuse_what_they_do_not_mean(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        _Fields.model_validate({key: value})


def test_the_age_is_known_by_stream() -> None:
    age = MaxAge(timedelta(1), timedelta(2))
    assert (age.of("transactional"), age.of("bulk")) == (timedelta(1), timedelta(2))
    with pytest.raises(ValueError, match="no such stream"):
        age.of("other")


def test_a_secret_is_never_shown() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert pickle.loads(pickle.dumps(secret)) == secret


def test_a_secret_that_was_not_read_cannot_be_revealed() -> None:
    with pytest.raises(ValueError, match="has not been read"):
        Secret(env="NAME").reveal()
