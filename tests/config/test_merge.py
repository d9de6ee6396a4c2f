"""Several documents become one whole whose values keep their places."""

from pathlib import Path

from mta.config.merge import Document, Merged, merge
from mta.errors import Problem


def _merged(*texts: str) -> tuple[Merged, list[str]]:
    documents = [Document.parse(Path(f"{index}.toml"), text.encode()) for index, text in enumerate(texts)]
    merged, problems = merge([document for document in documents if isinstance(document, Document)])
    return merged, [str(problem) for problem in problems]


def test_lists_of_tables_grow_and_sections_are_filled() -> None:
    merged, problems = _merged("[[account]]\nname='a'\n[log]\n", "[log]\nlevel='info'\n[[account]]\nname='b'\n")
    assert merged.data == {"account": [{"name": "a"}, {"name": "b"}], "log": {"level": "info"}}
    assert problems == []


def test_a_value_has_the_line_of_its_own_document() -> None:
    merged, _ = _merged("[[account]]\nname='a'\n", "\n\n[[account]]\nname='b'\n")
    assert merged.describe(("account", 1, "name")) == "1.toml:4"
    assert merged.describe(("account", 0, "rate")) == "0.toml:1"
    assert merged.describe(("queue", "retry")) == "0.toml"


def test_a_section_and_something_else_of_its_name_do_not_fit() -> None:
    _, problems = _merged("[log]\nlevel='info'\n", "log = 1\n")
    assert problems == ["1.toml:1: log: is given twice, first at 0.toml:2; remove one of them"]
    _, problems = _merged("log = 1\n", "[log]\nlevel='info'\n")
    assert problems == ["1.toml:2: log.level: is given twice, first at 0.toml:1; remove one of them"]


def test_a_list_of_tables_and_something_else_of_its_name_do_not_fit() -> None:
    _, problems = _merged("[[account]]\nname='a'\n", "[account]\nname='b'\n")
    assert problems == ["1.toml:1: account: is given twice, first at 0.toml:1; remove one of them"]


def test_what_is_broken_is_left_out_and_the_rest_keeps_its_places() -> None:
    merged, _ = _merged("workers=0\n[log]\nlevel='x'\nformat='text'\n[[account]]\n[[account]]\nname='b'\n")
    rest = merged.without([("workers",), ("log", "level"), ("account", 0, "name")])
    assert rest.data == {"log": {"format": "text"}, "account": [{"name": "b"}]}
    assert rest.describe(("account", 0)) == "0.toml:6"


def test_windows_line_ends_do_not_shift_lines() -> None:
    merged, _ = _merged("[log]\r\n\r\nlevel = 'info'\r\n")
    assert merged.describe(("log", "level")) == "0.toml:3"


def test_a_syntax_error_at_the_end_has_the_last_line() -> None:
    problem = Document.parse(Path("x.toml"), b"a = 1\nb = [\n\n")
    assert isinstance(problem, Problem)
    assert (problem.line, problem.reason) == (2, "not valid TOML: invalid value (at the end of the file)")


def test_a_number_that_python_refuses_is_a_problem() -> None:
    problem = Document.parse(Path("x.toml"), b"a = " + b"9" * 5000)
    assert str(problem) == "x.toml: holds a number with thousands of digits; shorten it"


def test_endless_dotted_keys_are_read() -> None:
    assert isinstance(Document.parse(Path("x.toml"), b"a" + b".a" * 2000 + b" = 1"), Document)
