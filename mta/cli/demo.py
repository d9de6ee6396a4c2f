"""`mta demo`: the main job from start to end, on loopback."""

import asyncio
import time

import click

from mta.cli.app import App, command
from mta.demo.story import tell


@click.command("demo")
@command
def demo(app: App) -> None:
    """Run a server against a scripted receiving world. Exit 0 only if everything it tells really happened."""
    began = time.monotonic()
    failures = asyncio.run(tell(lambda line: click.echo(line)))
    seconds = time.monotonic() - began
    if failures:
        click.echo(f"\n{len(failures)} things did not happen:", err=True)
        for failure in failures:
            click.echo(f"  {failure}", err=True)
        raise SystemExit(1)
    click.echo(f"\nall of it happened, in {seconds:.1f} s")
