"""`mta queue export|import`: a queue, or a part of it, on its way to another machine.

Both write to the store themselves, whether a server runs or not. What they do to it is left to `mta.storage.moving`.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mta.certificates import make_data_dir
from mta.cli.app import EX_DATAERR, EX_NO, EX_NOPERM, EX_USAGE, App, command, fail, json_option
from mta.cli.output import Output
from mta.cli.progress import progress
from mta.cli.reading import read
from mta.cli.selecting import selecting, selector_of
from mta.clock import SystemClock
from mta.config.settings import Settings
from mta.errors import StoreFull, StoreUnavailable
from mta.queue.model import State
from mta.storage.moving import EXPORTED, Moved, Moving
from mta.storage.overview import Overview
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention, Selector

T = TypeVar("T")


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@selecting
@click.option("--all", "everything", is_flag=True, help="All that wait; instead of a selector.")
@click.option("--reason", default="moved to another machine", show_default=True, help="Kept in the audit.")
@click.option("--dry-run", is_flag=True, help="Count what would be exported, and change nothing.")
@json_option
@command
def export(
    app: App, /, file: Path, everything: bool, reason: str, dry_run: bool, as_json: bool, **selectors: Any
) -> None:
    """Put what waits into a new FILE for another machine's `mta queue import`.

    What is in the file is held here, so that it is not sent twice; with a selector only a part goes. The other machine
    needs the same keyring and DKIM keys. Once it has taken the file in, end here what was exported; the last line of
    the output says how. Release it instead if the file was lost.
    """
    selector = selector_of(selectors)
    if selector == Selector() and not everything:
        fail("say which deliveries: a selector such as --account or --domain, or --all", EX_USAGE)
    counts = read(app, lambda reader: Overview(reader, SystemClock()).count(selector))
    waiting = counts.get(State.QUEUED, 0) + counts.get(State.HELD, 0)
    output = app.output(json=as_json)
    if dry_run:
        _exported(output, {"deliveries": waiting, "active": counts.get(State.ACTIVE, 0)}, "would export")
        return
    settings = app.loaded().settings
    with progress("export", waiting) as tell:
        moved = _run(settings, lambda moving: moving.export(file, selector, _who(), reason, tell))
    _exported(output, _shown(moved) | {"file": str(file)}, "exported")
    held = f'--state held --hold-reason "{EXPORTED} {moved.id}"'
    output.line(f"they are held here; once they are taken in elsewhere: mta queue cancel {held}")
    if not moved.deliveries:
        raise SystemExit(EX_NO)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reason", default="moved from another machine", show_default=True, help="Kept in the audit.")
@click.option("--dry-run", is_flag=True, help="Check the file and what is here, and change nothing.")
@json_option
@command
def import_(app: App, file: Path, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take in what `mta queue export` wrote on another machine.

    All of the file is checked before anything is written, and nothing is sent before all of it is here. An import that
    was broken off is run again. A running server begins to send within a minute.
    """
    settings = app.loaded().settings
    output = app.output(json=as_json)
    if not settings.data_dir.exists():
        make_data_dir(settings)
    with progress("import", None) as tell:
        try:
            if dry_run:
                moved = _run(settings, lambda moving: moving.look_into(file))
            else:
                moved = _run(settings, lambda moving: moving.take_in(file, _who(), reason, tell))
        except StoreFull:
            raise
        except StoreUnavailable as trouble:
            fail(f"nothing is sent of it: {trouble}", EX_DATAERR)
    if output.is_json:
        output.record(_shown(moved) | {"file": str(file)})
    output.line(f"{'would take in' if dry_run else 'took in'} {moved.deliveries} deliveries of export {moved.id}")


def _exported(output: Output, row: dict[str, Any], verb: str) -> None:
    if output.is_json:
        output.record(row)
    output.line(f"{verb} {row['deliveries']} deliveries")
    if row["active"]:
        output.line(f"{row['active']} are being attempted right now and stay here; run it again, with another file")


def _shown(moved: Moved) -> dict[str, Any]:
    return {"id": moved.id, "deliveries": moved.deliveries, "active": moved.active}


def _run(settings: Settings, work: Callable[[Moving], Awaitable[T]]) -> T:
    _require_owner(settings)

    async def run() -> T:
        async with _store(settings) as store:
            return await work(store.moving())

    return asyncio.run(run())


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(
        str(settings.store_path),
        SystemClock(),
        min_free=settings.queue.min_free,
        dice=random.SystemRandom(),
        retention=Retention(settings.privacy.keep_body_after_final, settings.privacy.keep_events),
    ) as store:
        yield store


def _require_owner(settings: Settings) -> None:
    """Refuse to write as somebody else than the server: it could not read files that are made here."""
    folder = settings.data_dir
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        fail(f"{folder} belongs to uid {owner}: run this as that user, such as: sudo -u '#{owner}' mta …", EX_NOPERM)


def _who() -> str:
    return f"uid {os.geteuid()}"
