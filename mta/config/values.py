"""How single values are written in the configuration: durations, sizes, rates, shares, secrets.

Each type has a parser that raises ValueError naming what was expected and what was given, and a printer whose text
parses to the same value. Names of hosts and networks are in `addresses`; which key takes which type is in `settings`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PlainValidator

T = TypeVar("T")

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
# Decimal, as disks and other servers' SIZE limits are quoted; the binary units are there for those who mean them.
_OCTETS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_PER = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

# Twelve digits are more than any setting needs and keep every conversion cheap and in range.
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|w)")
_SIZE = re.compile(r"([0-9]{1,12})(B|[KMGT]B|[KMGT]iB)")
_RATE = re.compile(r"([0-9]{1,12})/([smhd])")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")

EXPECTED_DURATION = 'a duration such as "30s", "15m" or "4d"'
EXPECTED_SIZE = 'a size such as "25MB"'
EXPECTED_RATE = 'a rate such as "1000/h"'
EXPECTED_SHARE = 'a share such as "5%"'


def given(value: object) -> str:
    """Return how an error message names a value of a TOML file: texts quoted and cut, tables and lists by kind."""
    match value:
        case str():
            text = value if len(value) <= 60 else value[:57] + "..."
            return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"the date or time {value}"


def reads(kind: type[T] | tuple[type[T], ...], parse: Callable[[str], T], expected: str) -> PlainValidator:
    """Return the validator of a field that is written as text: values of `kind` pass, texts go through `parse`."""

    def validate(value: object) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected {expected}, got {given(value)}")
        return parse(value)

    return PlainValidator(validate)


def parse_duration(text: str) -> timedelta:
    """Return the span written as a whole number and a unit (ms, s, m, h, d, w); raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"expected {EXPECTED_DURATION}, got {given(text)}")
    try:
        return int(found[1]) * _UNITS[found[2]]
    except OverflowError:
        raise ValueError(f"expected a duration below 2,700,000 years, got {given(text)}") from None


def format_duration(span: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back; parts below a millisecond are cut off."""
    for unit in ("w", "d", "h", "m", "s"):
        if span and span % _UNITS[unit] == timedelta():
            return f"{span // _UNITS[unit]}{unit}"
    return f"{span // _UNITS['ms']}ms" if span else "0s"


def parse_size(text: str) -> int:
    """Return the octets written as a whole number and a unit (B, KB, MB, GB, TB or KiB ... TiB); raises ValueError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"expected {EXPECTED_SIZE}, got {given(text)}")
    return int(found[1]) * _OCTETS[found[2]]


def parse_share(text: str) -> float:
    """Return the fraction (0 to 1) that a percentage names; raises ValueError."""
    found = _SHARE.fullmatch(text)
    if not found or float(found[1]) > 100:
        raise ValueError(f"expected {EXPECTED_SHARE}, got {given(text)}")
    return float(found[1]) / 100


@dataclass(frozen=True, slots=True)
class Rate:
    """So many things in a span of time, `count` at least 1."""

    count: int
    per: timedelta

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Return the rate written as "1000/h" (s, m, h, d); raises ValueError."""
        found = _RATE.fullmatch(text)
        if not found:
            raise ValueError(f"expected {EXPECTED_RATE}, got {given(text)}")
        if int(found[1]) == 0:
            raise ValueError(f"expected a rate of at least 1, got {given(text)}")
        return cls(int(found[1]), _PER[found[2]])

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, span in _PER.items() if span == self.per)}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no log, traceback or `repr` may show.

    `file` or `env` say where it comes from; both are None when it stands in the configuration itself. The content is
    there once the loader has read it; whoever keeps the file up to date (the keyring) works with `file`.
    """

    content: str | None = field(default=None, repr=False)
    file: Path | None = None
    env: str | None = None

    @property
    def is_plain(self) -> bool:
        """True when the text stands in the configuration file itself."""
        return self.file is None and self.env is None

    def reveal(self) -> str:
        """Return the text; raises ValueError if its file or variable has not been read."""
        if self.content is None:
            raise ValueError("the secret has not been read; only settings made by config.load have their secrets")
        return self.content

    def __repr__(self) -> str:
        if self.file is not None:
            return f"Secret(file={str(self.file)!r})"
        return f"Secret(env={self.env!r})" if self.env is not None else "Secret(***)"


@dataclass(frozen=True, slots=True)
class MaxAge:
    """How long mail of each stream is tried before it expires."""

    transactional: timedelta
    bulk: timedelta

    def of(self, stream: str) -> timedelta:
        """Return the age for "transactional" or "bulk"; raises ValueError for any other stream."""
        match stream:
            case "transactional":
                return self.transactional
            case "bulk":
                return self.bulk
        raise ValueError(f"no such stream: {given(stream)}")


DEFAULT_MAX_AGE = MaxAge(timedelta(days=4), timedelta(days=4))


def _positive(text: str) -> timedelta:
    span = parse_duration(text)
    if not span:
        raise ValueError(f"expected a duration above zero, got {given(text)}")
    return span


def _max_age(value: object) -> MaxAge:
    if isinstance(value, MaxAge):
        return value
    if isinstance(value, dict):
        for name in value:
            if name not in ("transactional", "bulk"):
                raise ValueError(f'unknown stream {given(name)}; the streams are "transactional" and "bulk"')
        spans = {name: _max_age(span).bulk for name, span in value.items() if not isinstance(span, dict)}
        if len(spans) == len(value):
            return MaxAge(
                spans.get("transactional", DEFAULT_MAX_AGE.transactional), spans.get("bulk", DEFAULT_MAX_AGE.bulk)
            )
    if not isinstance(value, str):
        wanted = 'a duration such as "4d", or one for each stream: { transactional = "1d", bulk = "4d" }'
        raise ValueError(f"expected {wanted}, got {given(value)}")
    return MaxAge(_positive(value), _positive(value))


def _size(value: object) -> int:
    octets = parse_size(value) if isinstance(value, str) else value
    if not isinstance(octets, int) or isinstance(octets, bool):
        raise ValueError(f"expected {EXPECTED_SIZE}, got {given(value)}")
    if octets < 1:
        raise ValueError(f"expected a size above zero, got {given(value)}")
    return octets


def _share(value: object) -> float:
    # A fraction is what code hands in; in a file it would be ambiguous at 1, which is therefore left out.
    if isinstance(value, float) and 0 <= value < 1:
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected {EXPECTED_SHARE}, got {given(value)}")
    return parse_share(value)


def _expiry(value: object) -> timedelta | None:
    if value is None or value == "never":
        return None
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f'expected {EXPECTED_DURATION}, or "never", got {given(value)}')
    return _positive(value)


def _workers(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f'expected "auto" or a whole number of at least 1, got {given(value)}')


def _secret(value: object) -> Secret:
    match value:
        case Secret():
            return value
        case str() if value:
            return Secret(value)
        case str():
            raise ValueError("the secret is empty")
        case {"file": str() as file, **rest} if file and not rest:
            return Secret(file=Path(file))
        case {"env": str() as env, **rest} if env and not rest:
            return Secret(env=env)
        # The value itself is never repeated: it may be the secret.
        case _:
            raise ValueError('expected a text in quotes, { file = "..." } or { env = "NAME" }')


def _kept_apart(value: object) -> Secret:
    """A secret that never stands in the configuration itself, since something else rewrites its file."""
    if isinstance(value, str):
        raise ValueError('expected { file = "..." } or { env = "NAME" }')
    return _secret(value)


def matching(pattern: re.Pattern[str], complaint: str) -> Callable[[object], Secret | None]:
    """Return a validator of secrets that must look like `pattern` once they are read; None is none."""

    def validate(value: object) -> Secret | None:
        if value is None:
            return None
        secret = _secret(value)
        if secret.content is not None and not pattern.fullmatch(secret.content):
            raise ValueError(complaint)
        return secret

    return validate


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected the path of a file or folder, got {given(value)}")
    return Path(value)


def _optional_path(value: object) -> Path | None:
    return None if value is None or value == "" else _path(value)


Duration = Annotated[timedelta, reads(timedelta, parse_duration, EXPECTED_DURATION)]
PositiveDuration = Annotated[timedelta, reads(timedelta, _positive, EXPECTED_DURATION)]
Expiry = Annotated[timedelta | None, PlainValidator(_expiry)]
MaxAgeField = Annotated[MaxAge, PlainValidator(_max_age)]
Size = Annotated[int, PlainValidator(_size)]
RateField = Annotated[Rate, reads(Rate, Rate.parse, EXPECTED_RATE)]
Share = Annotated[float, PlainValidator(_share)]
Workers = Annotated[int | Literal["auto"], PlainValidator(_workers)]
SecretField = Annotated[Secret, PlainValidator(_secret)]
SecretKeptApart = Annotated[Secret, PlainValidator(_kept_apart)]
PathField = Annotated[Path, PlainValidator(_path)]
OptionalPath = Annotated[Path | None, PlainValidator(_optional_path)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Flag = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1)]
