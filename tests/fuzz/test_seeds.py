"""What the fuzzer starts from, and what it found, is tried by everybody; hypothesis tries the same promises."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.run import SEEDS, TARGETS, WORDS, target

FILES = sorted(path for name in TARGETS for path in (SEEDS / name).iterdir())


def words() -> list[bytes]:
    """The words that are given to the fuzzer."""
    lines = [line for line in WORDS.read_text(encoding="ascii").splitlines() if line.startswith('"')]
    return [line[1:-1].encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]


WORDY = st.lists(st.one_of(st.sampled_from(words()), st.binary(max_size=3)), max_size=25).map(b"".join)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_breaks_no_promise(path: Path) -> None:
    target(path.parent.name)(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_has_seeds(name: str) -> None:
    assert len(list((SEEDS / name).iterdir())) > 10


def test_no_seed_is_for_a_target_that_is_gone() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("check", [pytest.param(target(name), id=name) for name in TARGETS])
@given(octets=WORDY)
def test_no_words_break_a_promise(check: Callable[[bytes], None], octets: bytes) -> None:
    check(octets)


@given(octets=st.binary(min_size=2, max_size=2).flatmap(lambda cuts: st.builds(lambda text: cuts + text, WORDY)))
def test_any_content_is_read_as_the_obvious_reader_reads_it(octets: bytes) -> None:
    target("data")(octets + b"\r\n.\r\nbehind")
