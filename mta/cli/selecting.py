"""The selectors that commands about deliveries share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mta.cli.times import Span
from mta.queue.model import State
from mta.storage.views import Selector

F = TypeVar("F", bound=Callable[..., Any])


def selecting(function: F) -> F:
    """Add the selectors: all that are given must hold."""
    for option in reversed(
        [
            click.option("--id", metavar="ID", help="A queue id (all its deliveries) or a delivery's id."),
            click.option("--account", metavar="NAME", help="Whose mail it is."),
            click.option("--domain", metavar="DOMAIN", help="The recipient's domain."),
            click.option("--site", metavar="SITE", help="The host or relay where it was attempted last."),
            click.option("--state", type=click.Choice([state.value for state in State]), help="The state it is in."),
            click.option("--older-than", type=Span(), metavar="AGE", help='Accepted that long ago, such as "4h".'),
            click.option("--tag", metavar="TAG", help="What X-MTA-Tag said."),
            click.option("--hold-reason", metavar="TEXT", help="Held for a reason that begins like this."),
        ]
    ):
        function = option(function)
    return function


def selector_of(selectors: dict[str, Any]) -> Selector:
    """Return the selector that the options mean."""
    state = selectors.get("state")
    return Selector(**{**selectors, "state": State(state) if state else None})


def wire_of(selectors: dict[str, Any]) -> dict[str, Any]:
    """Return the options as they go over the control socket."""
    older = selectors.get("older_than")
    return {**selectors, "older_than": older.total_seconds() if older is not None else None}
