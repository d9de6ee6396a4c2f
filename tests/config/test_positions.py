"""The index of lines agrees with what tomllib reads."""

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies
from hypothesis.strategies import DrawFn, composite

from mta.config.positions import Loc, Positions

KEYS = strategies.one_of(
    strategies.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True), strategies.sampled_from(["", "a.b", "[x]", 'q"', "#"])
)
SCALARS = [
    "1",
    "-2.5e3",
    "true",
    "2026-12-01",
    "2026-12-01 10:00:00",
    '"a # ] } , = text"',
    r'"esc \" \\"',
    "'lit # ] \"'",
    '"""one\n[two]\nkey = 3"""',
    '"""ends with quotes"""""',
    '"""in "" side"""',
    r'"""\"""\" # """',
    "'''raw\n''[[x]]\n'''",
    "''''quoted''''",
    '""',
    "''",
]


def _paths(value: object, loc: Loc = ()) -> Iterator[Loc]:
    if loc:
        yield loc
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*loc, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*loc, index))


def _printed(key: str) -> str:
    return key if key and key.replace("-", "").replace("_", "").isalnum() and key.isascii() else json.dumps(key)


@composite
def _values(draw: DrawFn, depth: int = 2) -> str:
    """One value as TOML text: a scalar, an array over several lines, or an inline table."""
    kind = draw(strategies.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
    if kind == "array":
        items = draw(strategies.lists(_values(depth - 1), max_size=3))
        gap = draw(strategies.sampled_from([" ", "\n", " # ] comment\n"]))
        return f"[{gap}" + f",{gap}".join(items) + f"{',' if items and '#' not in gap else ''}{gap}]"
    if kind == "table":
        keys = draw(strategies.lists(KEYS, max_size=3, unique=True))
        pairs = [f"{_printed(key)} = {draw(_values(depth - 1))}" for key in keys]
        return "{ " + ", ".join(pairs) + " }"
    return draw(strategies.sampled_from(SCALARS))


@composite
def _documents(draw: DrawFn) -> str:
    """Statements below headers of every kind; tomllib decides whether they fit together."""
    lines: list[str] = []
    for _ in range(draw(strategies.integers(0, 8))):
        name = ".".join(_printed(key) for key in draw(strategies.lists(KEYS, min_size=1, max_size=3)))
        kind = draw(strategies.sampled_from(["pair", "pair", "[{}]", "[[ {} ]]", "list again", "", "# [no] = 'one'"]))
        if kind == "pair":
            lines.append(f"{name} = {draw(_values())}")
        elif kind == "list again":
            lines += ["[[list]]", f"[list.{name}]", f"[[list.{name}.inner]]", "x = 1"]
        else:
            lines.append(kind.format(name))
    return draw(strategies.sampled_from(["\n", "\n\n", "\r\n"])).join(lines)


def _agrees(text: str) -> bool:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    assert set(Positions.of(text).lines) == set(_paths(data))
    return True


def test_most_generated_documents_are_valid() -> None:
    results: list[bool] = []

    @settings(max_examples=200, database=None, derandomize=True)
    @given(_documents())
    def collect(text: str) -> None:
        results.append(_agrees(text))

    collect()
    assert sum(results) > len(results) / 3


@given(_documents())
def test_every_value_tomllib_reads_has_a_line_and_nothing_else_has(text: str) -> None:
    _agrees(text)


@given(strategies.text("ab.=\"'[]{},#\\\n 1"))
def test_any_text_that_tomllib_accepts_is_indexed_alike(text: str) -> None:
    _agrees(text)


@pytest.mark.parametrize("scalar", SCALARS)
def test_no_scalar_hides_what_follows_it(scalar: str) -> None:
    assert _agrees(f"a = {scalar}\nb = [{scalar}, {scalar}]\nc = {{ d = {scalar}, e = 1 }}\nf = 2")


TEXT = '''\
hostname = "h"

[queue]
retry = [
  "5m",
  "10m", # [[account]]
]
max_age = { bulk = "4d" }

[submission]
tls.cert = """
[http]"""
tls.key = "k"

[[account]]
name = "a"
[[account]]
name = "b"
[account.tracking]
opens = true
'''


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("hostname",), 1),
        (("queue",), 3),
        (("queue", "retry", 1), 6),
        (("queue", "max_age", "bulk"), 8),
        (("submission", "tls", "cert"), 11),
        (("submission", "tls", "key"), 13),
        (("account", 0, "name"), 16),
        (("account", 1), 17),
        (("account", 1, "tracking", "opens"), 20),
        (("account", 1, "rate"), 17),
        (("queue", "stop_grace"), 3),
        (("nothing",), None),
        ((), None),
    ],
)
def test_a_value_has_its_line_or_that_of_what_is_around_it(loc: Loc, line: int | None) -> None:
    assert Positions.of(TEXT).line(loc) == line


def test_a_line_of_a_long_text_is_found_in_linear_time() -> None:
    text = "\n".join(f"[[account]]\nname = 'a{i}'" for i in range(20_000))
    assert Positions.of(text).line(("account", 19_999, "name")) == 40_000
