"""What is left of a message that some of its recipients have."""

from msgspec.structs import replace

from mta.events import Event, EventType
from mta.queue.duplicates import Remainder, without_duplicates
from mta.queue.model import NewMessage
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

CLOCK = FakeClock()
LETTERS = Letters(CLOCK)


def letter() -> NewMessage:
    return LETTERS.new(["a@example.net", "b@example.net", "c@example.net"])


def accepted(new: NewMessage) -> Event:
    detail = {"size": 9, "recipients": len(new.deliveries)}
    return Event(LETTERS.ids.next(), CLOCK.now(), EventType.ACCEPTED, queue_id=new.message.id, detail=detail)


def test_a_message_that_nobody_has_is_left_as_it_is() -> None:
    new = letter()
    event = accepted(new)
    assert without_duplicates(new, [event], {"d@example.net": "0"}) == Remainder(new, (event,), new.message.id)


def test_who_has_it_already_is_left_out_and_the_event_tells_of_the_rest() -> None:
    new = letter()
    left = without_duplicates(new, [accepted(new)], {"a@example.net": "2", "c@example.net": "1", "z@example.net": "0"})
    assert [str(one.recipient.mailbox) for one in left.new.deliveries] == ["b@example.net"]
    assert (left.queue_id, left.duplicates) == ("1", 2)
    assert left.events[0].detail == {"size": 9, "recipients": 1, "duplicates": 2, "duplicate_of": "1"}


def test_what_is_told_of_a_delivery_that_is_left_out_is_left_out_too() -> None:
    new = letter()
    suppressed = [replace(accepted(new), type=EventType.SUPPRESSED, delivery_id=one.id) for one in new.deliveries]
    left = without_duplicates(new, suppressed, {"a@example.net": "1"})
    assert left.events == tuple(suppressed[1:])


def test_when_everybody_has_it_nothing_is_left() -> None:
    new = letter()
    before = {str(one.recipient.mailbox): "1" for one in new.deliveries}
    left = without_duplicates(new, [accepted(new)], before)
    assert (left.new.deliveries, left.events, left.queue_id, left.duplicates) == ((), (), "1", 3)


def test_mailboxes_are_compared_exactly() -> None:
    assert without_duplicates(letter(), [], {"A@example.net": "1"}).duplicates == 0
