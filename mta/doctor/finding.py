"""What a check finds, and how checks are carried out: side by side, each with a limit of its own.

What is looked at is each check's own business; printing it is left to the command.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Mail goes, but not as well as it could, or not for long."""
    FAIL = "fail"
    """Mail does not arrive, or is about not to."""
    SKIPPED = "skipped"
    """It could not be looked at, or does not apply."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    """What was seen."""
    where: str = ""
    """The name, address or file that it is about."""
    remedy: str = ""
    """What to do about it; empty when there is nothing to do."""
    check: str = ""
    """The check that found it; filled in when it is carried out."""


def ok(what: str, where: str = "") -> Finding:
    """Return that something is as it should be."""
    return Finding(Verdict.OK, what, where)


def warn(what: str, where: str, remedy: str) -> Finding:
    """Return that something should be mended."""
    return Finding(Verdict.WARN, what, where, remedy)


def fail(what: str, where: str, remedy: str) -> Finding:
    """Return that something must be mended."""
    return Finding(Verdict.FAIL, what, where, remedy)


def skipped(what: str, where: str = "", remedy: str = "") -> Finding:
    """Return that something could not be looked at."""
    return Finding(Verdict.SKIPPED, what, where, remedy)


@dataclass(frozen=True, slots=True)
class Check:
    """One question."""

    name: str
    ask: Callable[[], Awaitable[Sequence[Finding]]]
    limit: timedelta = timedelta(seconds=20)


async def examine(checks: Sequence[Check], heard: Callable[[int], None]) -> list[Finding]:
    """Carry out checks, several at once; return what they found, in their order. One that breaks is a finding, too.

    `heard` is told how many have ended.
    """
    done = 0

    async def one(check: Check) -> list[Finding]:
        nonlocal done
        found = await _carried_out(check)
        done += 1
        heard(done)
        return [Finding(each.verdict, each.what, each.where, each.remedy, check.name) for each in found]

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(check)) for check in checks]
    return [finding for task in asked for finding in task.result()]


async def _carried_out(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(check.limit.total_seconds()):
            return await check.ask()
    except TimeoutError:
        return [skipped(f"did not come to its end within {check.limit.total_seconds():g} s", "", "run it again")]
    except OSError as error:
        return [skipped(f"cannot be looked at: {error.strerror or error}", str(error.filename or ""))]
    except Exception as error:  # one check that breaks must not hide what the others found
        return [skipped(f"this check is broken: {type(error).__name__}: {error}", "", "please report it")]
