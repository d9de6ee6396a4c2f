"""Hostile clients over a raw socket: each hears its reply, is kept in step or closed, and leaves nothing behind that it
may not leave. The tables are in `hostile/`, a case a line: what rules it, what is said and heard, and the queue after.
"""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.scenarios.hostile import (
    chunking,
    commands,
    content,
    leaving,
    login,
    order,
    parameters,
    pipelining,
    relay,
)
from tests.scenarios.hostile.case import Case
from tests.scenarios.hostile.stage import Stage, open_stage

TABLES = (relay, parameters, order, commands, login, content, pipelining, chunking, leaving)
CASES = {f"{table.__name__.rpartition('.')[2]}: {case.name}": case for table in TABLES for case in table.CASES}
# each from a network of its own: what one gets wrong locks out no other
SOURCES = {name: f"127.{number % 250 + 1}.{number // 250 + 1}.1" for number, name in enumerate(CASES)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One server for all of them, as it would be."""
    async with open_stage(tmp_path_factory.mktemp("hostile") / "house") as built:
        yield built


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_a_hostile_client_hears_its_reply_and_leaves_no_more_than_it_may(stage: Stage, name: str) -> None:
    case: Case = CASES[name]
    assert await stage.play(case, SOURCES[name]) == Counter(case.queued)


def test_no_case_of_a_table_hides_another() -> None:
    assert len(CASES) == sum(len(table.CASES) for table in TABLES)
