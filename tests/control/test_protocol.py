"""Requests and answers as lines."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.control import protocol
from mta.control.protocol import CommandFailed, Request

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(command=st.text(), arguments=st.dictionaries(st.text(), VALUES, max_size=4), who=st.text())
def test_what_is_dumped_is_read_back(command: str, arguments: dict[str, object], who: str) -> None:
    line = Request(command, arguments, who).dump()
    assert line.count(b"\n") == 1
    assert Request.parse(line) == Request(command, arguments, who)


@given(st.binary(max_size=200))
def test_any_octets_are_a_request_or_a_value_error(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(Request.parse(line).command, str)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"[]",
        b'"status"',
        b"{}",
        b'{"command": 1}',
        b'{"command": "x", "arguments": []}',
        b'{"command": "x", "who": 0}',
        b"[" * 9999,
    ],
    ids=lambda line: repr(line[:20]),
)
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="request"):
        Request.parse(line)


def test_an_error_carries_the_exit_code() -> None:
    assert json.loads(protocol.error(CommandFailed("no such account", 1))) == {"error": "no such account", "exit": 1}


def test_a_row_may_hold_line_ends_and_stays_one_line() -> None:
    line = protocol.row({"text": "one\ntwo\r\n"})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"row": {"text": "one\ntwo\r\n"}}
