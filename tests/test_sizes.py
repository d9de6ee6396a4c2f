"""The list of large files and functions."""

from pathlib import Path

from tests.sizes import Sized, files, functions, largest

SOURCE = '''"""A module."""


def short() -> None:
    pass


async def long() -> None:
    def inner() -> None:
        pass

    inner()
'''


def test_files_and_functions_are_counted_in_lines(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text(SOURCE)
    assert files(tmp_path) == [Sized(12, str(source))]
    assert {each.name.rpartition(" ")[2]: each.lines for each in functions(tmp_path)} == {
        "short": 2,
        "long": 5,
        "inner": 2,
    }


def test_the_largest_come_first() -> None:
    things = [Sized(number, f"f{number}") for number in (3, 12, 7)]
    assert [each.lines for each in largest(things, 2)] == [12, 7]
