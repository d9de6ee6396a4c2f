"""Spans and ages as people type and read them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mta.config.values import parse_duration

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Span(click.ParamType[timedelta]):
    """An option such as "4h"."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the span; a usage error when the text is none, or reaches back further than time does."""
        if isinstance(value, timedelta):
            return value
        try:
            span = parse_duration(value)
            datetime.now(UTC) - span
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)
        return span


class Moment(click.ParamType[datetime]):
    """An option such as "2h" (ago), or an ISO 8601 time, in UTC unless it says otherwise."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time; a usage error when the text is none."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - parse_duration(value)
        except (ValueError, OverflowError):
            pass  # then it is a time
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f'{value!r} is neither a span such as "2h" nor a time such as 2026-01-31T12:00', param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


def spelled(span: timedelta) -> str:
    """Return a span with its two largest units, such as `3h12m`; what is past is `0s`."""
    left = max(0, int(span.total_seconds()))
    for position, (unit, length) in enumerate(_UNITS):
        if left >= length:
            smaller, below = _UNITS[min(position + 1, len(_UNITS) - 1)]
            rest = left % length // below
            return f"{left // length}{unit}{rest}{smaller}" if rest else f"{left // length}{unit}"
    return "0s"


def age(at: datetime | None) -> str | None:
    """Return how long ago a time was."""
    return None if at is None else spelled(datetime.now(UTC) - at)


def until(at: datetime) -> str:
    """Return when a time will be: `now`, or `in 5m`."""
    left = at - datetime.now(UTC)
    return "now" if left <= timedelta(0) else f"in {spelled(left)}"


def stamp(at: datetime) -> str:
    """Return a time to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
