"""`mta demo` tells what happened: all of it when it did, and what did not when it did not."""

import asyncio
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from mta.cli.app import App
from mta.cli.demo import demo, demo_of
from mta.demo.stage import Story, World
from mta.demo.story import tell


def run(meddle: Callable[[World], None], patience: float) -> Result:
    command = demo_of(lambda say: tell(say, meddle, patience))
    return CliRunner().invoke(command, obj=App(None))


def test_a_claim_that_is_false_is_remembered() -> None:
    lines: list[str] = []
    story = Story(lines.append)
    story.check(True, "the sun rises")
    story.check(False, "it rains upwards")
    assert lines == ["   ok    the sun rises", "   FAIL  it rains upwards"]
    assert story.failures == ["it rains upwards"]


@pytest.mark.slow
def test_the_story_ends_well_and_shows_what_it_claims() -> None:
    result = CliRunner().invoke(demo, obj=App(None))
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output
    chapters = [line for line in result.stdout.splitlines() if line[:1].isdigit()]
    assert [chapter.partition(".")[0] for chapter in chapters] == [str(number) for number in range(1, 11)]
    for seen in (
        "rsa-sha256 (r1) and ed25519-sha256 (e1)",
        "mx.grey.example saw 2 attempts",
        "Action: failed, Status: 5.1.1",
        "There is no mailbox with this address",
        "535 5.7.8",
        "450 4.2.0 Greylisted",
        "it bounced on",
        "its owner complained",
        "is suspended: hard bounces are 1",
        'mta_deliveries_total{result="bounced"} 4',
    ):
        assert seen in result.stdout
    assert result.stdout.splitlines()[-1].startswith("All of it happened, in ")
    assert max(map(len, result.stdout.splitlines())) <= 120


def refuses_for_good(world: World) -> None:
    world.grey.answer("RCPT", None, "550 5.1.1 No such mailbox here")


def publishes_other_keys(world: World) -> None:
    for name in world.published:
        world.published[name] = "v=DKIM1; p="


def takes_everybody(world: World) -> None:
    world.strict.answer("RCPT", "nobody@strict.example", "250 2.1.5 Ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("meddle", "missing"),
    [
        (refuses_for_good, "the story broke off: TimeoutError"),
        (publishes_other_keys, "that its public keys confirm: none"),
        (takes_everybody, "the story broke off: TimeoutError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_did_not_happen_is_named_and_ends_it_badly(meddle: Callable[[World], None], missing: str) -> None:
    result = run(meddle, patience=5)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert result.stderr.splitlines()[1].startswith("this did not happen (")
    assert missing in result.stderr
    assert "All of it happened" not in result.output


@pytest.mark.slow
def test_two_stories_at_a_time_do_not_disturb_each_other() -> None:
    async def both() -> list[list[str]]:
        return await asyncio.gather(*(tell(lambda line: None) for _ in range(2)))

    assert asyncio.run(both()) == [[], []]
