"""Checks are carried out side by side, and one that breaks or hangs hides nothing."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from mta.doctor.finding import Check, Finding, Verdict, examine, ok, skipped


async def good() -> Sequence[Finding]:
    return [ok("fine")]


async def slow() -> Sequence[Finding]:
    await asyncio.Event().wait()
    return []


async def broken() -> Sequence[Finding]:
    raise KeyError("x")


async def forbidden() -> Sequence[Finding]:
    raise PermissionError(13, "Permission denied", "/etc/shadow")


async def test_all_are_told_in_their_order_whatever_becomes_of_them() -> None:
    heard: list[int] = []
    checks = [
        Check("slow", slow, timedelta(milliseconds=1)),
        Check("broken", broken),
        Check("forbidden", forbidden),
        Check("good", good),
    ]
    found = await examine(checks, heard.append)
    assert [(one.check, one.verdict) for one in found] == [
        ("slow", Verdict.SKIPPED),
        ("broken", Verdict.SKIPPED),
        ("forbidden", Verdict.SKIPPED),
        ("good", Verdict.OK),
    ]
    assert "within 0.001 s" in found[0].what
    assert "this check is broken: KeyError" in found[1].what
    assert (found[2].what, found[2].where) == ("cannot be looked at: Permission denied", "/etc/shadow")
    assert heard == [1, 2, 3, 4]


def test_what_was_skipped_needs_no_remedy() -> None:
    assert skipped("not now") == Finding(Verdict.SKIPPED, "not now")
