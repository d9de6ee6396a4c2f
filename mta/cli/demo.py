"""`mta demo`: the main job from start to end, on loopback."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import click

from mta.cli.app import EX_NO, App, command
from mta.demo.story import tell

Tell = Callable[[Callable[[str], None]], Awaitable[list[str]]]
"""Tells a story line by line; returns what did not happen."""


def demo_of(told: Tell) -> click.Command:
    """Return the command that tells a story and ends with 0 only if all of it happened."""

    @click.command("demo")
    @command
    def demo(app: App) -> None:
        """Run a server against a scripted receiving world, and show what happens.

        Exits with 0 only if everything that it tells really happened. Takes some seconds; nothing leaves this machine.
        """
        began = time.monotonic()
        failures = asyncio.run(_awaited(told(click.echo)))
        if failures:
            click.echo(f"\nthis did not happen ({len(failures)}):", err=True)
            for failure in failures:
                click.echo(f"  {failure}", err=True)
            raise SystemExit(EX_NO)
        click.echo(f"\nAll of it happened, in {time.monotonic() - began:.1f} seconds.")

    return demo


async def _awaited(failures: Awaitable[list[str]]) -> list[str]:
    return await failures


demo = demo_of(tell)
