"""What is left of a message that was accepted before for some of its recipients: values in, values out.

Which recipients these are is the store's to know.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from mta.events import Event, EventType
from mta.queue.model import NewMessage


class Remainder(Struct, frozen=True):
    """A message without the recipients that have it already."""

    new: NewMessage
    events: tuple[Event, ...]
    """Of what remains."""
    queue_id: str
    """What the client is told."""
    duplicates: int = 0


def without_duplicates(new: NewMessage, events: Sequence[Event], before: Mapping[str, str]) -> Remainder:
    """Leave out recipients for whom the same message was accepted a while ago, with their events.

    `before` has the queue id by recipient. The client is told the first of theirs. The event that tells of the
    acceptance of the rest counts only that, and names the first one.
    """
    known = {one.id: before[name] for one in new.deliveries if (name := str(one.recipient.mailbox)) in before}
    if not known:
        return Remainder(new, tuple(events), new.message.id)
    left = tuple(delivery for delivery in new.deliveries if delivery.id not in known)
    first = min(known.values())
    if not left:
        return Remainder(replace(new, deliveries=()), (), first, len(known))
    return Remainder(
        replace(new, deliveries=left),
        tuple(_of_the_rest(event, len(left), len(known), first) for event in events if event.delivery_id not in known),
        first,
        len(known),
    )


def _of_the_rest(event: Event, left: int, duplicates: int, first: str) -> Event:
    if event.type is not EventType.ACCEPTED:
        return event
    return replace(event, detail={**event.detail, "recipients": left, "duplicates": duplicates, "duplicate_of": first})
