"""Prints the largest files and functions, for the reviewer's eye: `python -m tests.sizes`. No gate."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Sized:
    """A file or a function, and how many lines it has."""

    lines: int
    name: str


def files(package: Path) -> list[Sized]:
    """Return the source files of a package with their lines."""
    return [Sized(len(path.read_text("utf-8").splitlines()), str(path)) for path in sorted(package.rglob("*.py"))]


def functions(package: Path) -> list[Sized]:
    """Return its functions and methods; one inside of another counts for both."""
    return [each for path in sorted(package.rglob("*.py")) for each in _in(ast.parse(path.read_text("utf-8")), path)]


def largest(things: list[Sized], shown: int = SHOWN) -> list[Sized]:
    """Return the largest, largest first."""
    return sorted(things, key=lambda each: (-each.lines, each.name))[:shown]


def _in(tree: ast.Module, path: Path) -> Iterator[Sized]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield Sized(node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}")


def main() -> None:
    """Print both lists."""
    package = ROOT / "mta"
    for title, things in (("files", files(package)), ("functions", functions(package))):
        print(f"the largest {title}, in lines:")
        for each in largest(things):
            print(f"  {each.lines:4}  {each.name.removeprefix(f'{ROOT}/')}")


if __name__ == "__main__":
    main()
