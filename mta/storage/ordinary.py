"""Ordinary messages: they have one delivery and not many octets, and are written in one step (`at_once`)."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from mta.events import Event
from mta.queue.model import Content, NewMessage, State
from mta.reputation.rates import COUNTED
from mta.storage.at_once import Ordinary
from mta.storage.rows import Params, event_params, message_params

BEGINNINGS = frozenset({State.QUEUED, State.HELD, State.SUPPRESSED})
"""States a delivery may have when its message is accepted."""


class Acceptance(Struct, frozen=True):
    """A message that is to be written."""

    new: NewMessage
    events: Sequence[Event]
    lease: int
    """How many of its deliveries are leased at once, at most."""


def is_simple(wanted: Acceptance) -> bool:
    """Whether a message can be written in one step, and nothing has to be looked up or counted for that."""
    new = wanted.new
    return (
        (new.terms is None or not new.terms.bind)
        and is_ordinary(new, wanted.events)
        and new.deliveries[0].state in BEGINNINGS
        and COUNTED.isdisjoint([event.type for event in wanted.events])
    )


def is_ordinary(new: NewMessage, events: Sequence[Event]) -> bool:
    """Whether a message can be written in one step with others."""
    return (
        len(new.deliveries) == 1
        and not new.deliveries[0].state.is_final
        and 1 <= len(events) <= 2
        and fits_one_row(new.content)
    )


def fits_one_row(content: Content) -> bool:
    return len(content.header) + sum(map(len, content.body)) <= Content.PIECE


def ordinary(new: NewMessage, events: Iterable[Event], delivery: Params) -> Ordinary:
    """Return the rows of an ordinary message, given that of its delivery."""
    return Ordinary(
        b"".join((new.content.header, *new.content.body)),
        message_params(new.message) | {"header_size": len(new.content.header)},
        delivery,
        *map(event_params, events),
    )
