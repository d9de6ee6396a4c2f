"""Tables, records and JSON Lines."""

import io
import json
from collections.abc import Mapping, Sequence

import pytest

from mta.cli.output import Output
from tests.cli.command import UNFIT_FOR_A_TERMINAL

EVIL = "a\x1b[31m\x9b2J\r\nb\u202ec\udc80"


class Terminal(io.StringIO):
    """What says that it is one."""

    def isatty(self) -> bool:
        return True


def printed(rows: Sequence[Mapping[str, object]], *, as_json: bool = False, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    Output(stream, json=as_json).rows(rows, ["name", "text"], "nothing here")
    return stream.getvalue()


def test_a_row_is_a_line_however_long() -> None:
    lines = printed([{"name": "n" * 300, "text": "t" * 500}, {"name": "x", "text": None}]).splitlines()
    assert len(lines) == 3
    assert lines[2].split() == ["x", "-"]


def test_no_rows_are_said_to_people_and_are_nothing_to_programs() -> None:
    assert printed([]) == "nothing here\n"
    assert printed([], as_json=True) == ""


def test_programs_get_all_keys_and_the_text_as_it_is() -> None:
    row = {"name": "é", "text": EVIL, "more": [1, True, None]}
    assert json.loads(printed([row], as_json=True)) == row


@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_are_never_written(as_json: bool) -> None:
    text = printed([{"name": EVIL, "text": EVIL}], as_json=as_json)
    assert not UNFIT_FOR_A_TERMINAL.search(text)
    assert text.isascii() or not as_json


def test_on_a_terminal_markup_of_strangers_is_text() -> None:
    text = printed([{"name": "[red]x[/red]", "text": "[link=http://example.com]y[/link]"}], stream=Terminal())
    assert "[red]x[/red]" in text


def test_a_line_is_one_line_and_clean() -> None:
    stream = io.StringIO()
    Output(stream, json=False).line(EVIL)
    assert stream.getvalue().count("\n") == 1
    assert not UNFIT_FOR_A_TERMINAL.search(stream.getvalue())


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), ("", "-"), ([], "-"), (True, "yes"), (False, "no"), (["a", "b"], "a, b"), (0, "0")],
)
def test_values_are_shown_as_people_read_them(value: object, shown: str) -> None:
    stream = io.StringIO()
    Output(stream, json=False).record({"a_key": value})
    assert stream.getvalue() == f"a key  {shown}\n"
