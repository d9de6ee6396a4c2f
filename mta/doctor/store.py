"""The store: is its file sound, and does something in it keep mail from going?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mta.doctor.finding import Finding, fail, ok, skipped, warn
from mta.queue.model import Pause, SiteRest

_LATE = timedelta(minutes=15)
"""So long may something be due before it looks as if nothing moved."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, as far as it tells of trouble."""

    pauses: Sequence[Pause]
    rests: Sequence[SiteRest]
    suspended: Sequence[str]
    """Accounts, or account/stream."""
    held: int
    due_since: datetime | None
    """Since when the first delivery is due that waits; None: nothing waits."""
    doubted: Mapping[str, int] = field(default_factory=dict)
    """Sites with hard bounces that are withheld, and how many."""


def soundness(path: str, damage: Callable[[], Sequence[str]]) -> list[Finding]:
    """Return whether the file is sound. `damage` reads all of it; raises TimeoutError when that takes too long."""
    try:
        found = damage()
    except TimeoutError:
        remedy = "give it longer: mta doctor --store-limit 1h"
        return [skipped("reading all of it takes longer than was allowed", path, remedy)]
    if found:
        remedy = f"stop the server, keep a copy of the file and its -wal, then: sqlite3 {path} .recover, or a backup"
        return [fail(f"it is damaged: {'; '.join(found)[:300]}", path, remedy)]
    return [ok("all of it is sound", path)]


def standstill(waiting: Waiting, now: datetime, *, is_running: bool) -> list[Finding]:
    """Return what keeps mail from going."""
    found = [
        warn(
            f"{f'{one.scope} {one.value}' if one.value else 'everything'} is paused since {one.at:%Y-%m-%d %H:%M} by "
            f"{one.who}: {one.reason}",
            "",
            f"mta queue resume --{one.scope}{f' {one.value}' if one.value else ''}",
        )
        for one in waiting.pauses
    ]
    found += [
        warn(f"is left alone until {one.until:%H:%M:%S} UTC: {one.reason}", one.site, "mta queue stats; the log")
        for one in waiting.rests
    ]
    found += [warn("is suspended", name, f"mta reputation {name.split('/')[0]}") for name in waiting.suspended]
    found += [
        warn(
            f"bounces far more than usual: {count} hard bounces suppress nobody and count in no ratio yet",
            site,
            "mta bounces withheld",
        )
        for site, count in waiting.doubted.items()
    ]
    if waiting.held:
        found.append(warn(f"{waiting.held} deliveries are held", "", "mta queue list --state held tells why"))
    since = waiting.due_since
    if is_running and since is not None and now - since > _LATE and not waiting.pauses:
        found.append(
            warn(f"something is due since {since:%Y-%m-%d %H:%M:%S} UTC and waits", "", "mta queue stats; the log")
        )
    return found or [ok("nothing is paused, held or left alone")]
