"""Mail in a store without a server, some of it with text that no terminal should see."""

from datetime import timedelta

from msgspec.structs import replace

from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.envelope import Recipient
from mta.mail.outcome import Try
from mta.mail.reply import Reply
from mta.queue.model import NewMessage, State
from mta.queue.returned import ReturnNote
from mta.queue.settle import Settled, Settlement
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

LETTER = b"Subject: hello\r\n\r\n\x1b[31mred\r\n\xff.\r\n"
EVIL = "\x1b[31m\x9b2J\x07\r\n\u202eevil"


class _Nobody:
    def observe(self, event: Event) -> None:
        """Nobody looks."""


async def fill(store: SqliteStore) -> dict[str, str]:
    """Put in mail that waits, is deferred, held, and evil; return the queue ids."""
    desk = store.desk(_Nobody())
    deferred = await _accept(store, "bob@example.net")
    await _defer(store, Reply.of(450, "4.7.1", "come back later"), "mx.example.net")
    held = await _accept(store, "carol@example.org", tag="spring")
    await desk.hold(Selector(id=held), "uid 0", "looking into it")
    evil = await _accept(store, f"eve{EVIL}@example.net", tag=EVIL)
    # built by hand: parsing would have cleaned it
    await _defer(store, Reply(450, None, EVIL), f"mx{EVIL}.example")
    evil_held = await _accept(store, f"mallory{EVIL}@example.net")
    await desk.hold(Selector(id=evil_held), f"uid {EVIL}", EVIL)
    waiting = await _accept(store, "alice@example.com", "dave@example.com")
    return {"waiting": waiting, "deferred": deferred, "held": held, "evil": evil, "evil_held": evil_held}


async def fill_returns(store: SqliteStore) -> dict[str, str]:
    """Put in what came back and who is suppressed, some of it evil; return ids by what they are for."""
    now = store.now()
    times = [now + timedelta(seconds=seconds) for seconds in range(3)]
    notes = {
        "bounce": ReturnNote(
            store.ids.next(),
            times[0],
            "bounce",
            recipient="kay@example.net",
            reason="bad_mailbox",
            text="550 5.1.1 no such user",
            effect="applied",
        ),
        "complaint": ReturnNote(store.ids.next(), times[1], "complaint", text=EVIL, effect="rejected"),
        "postmaster": ReturnNote(
            store.ids.next(),
            times[2],
            "postmaster",
            recipient="who@example.org",
            text=f"hello {EVIL}",
            effect="kept",
            octets=LETTER,
        ),
    }
    for note in notes.values():
        await store.note(note)
    desk = store.desk(_Nobody())
    for address, cause, origin, detail in (
        ("kay@example.net", Cause.HARD_BOUNCE, Origin.REPORT, "550 5.1.1 no such user"),
        ("lee@example.net", Cause.COMPLAINT, Origin.FEEDBACK, "abuse"),
        ("`reboot`@example.net", Cause.MANUAL, Origin.OPERATOR, EVIL),
    ):
        entry = Suppression("app", Mailbox(*address.rsplit("@", 1)), cause, origin, now, None, detail)
        await desk.add_suppression(entry, "uid 0")
    return {kind: note.id for kind, note in notes.items()}


async def _accept(store: SqliteStore, *recipients: str, tag: str | None = None) -> str:
    letters = Letters(FakeClock(store.now()))
    letters.ids = store.ids
    new = letters.new(["a@example.net"] * len(recipients))
    foreign = EVIL if EVIL in recipients[0] else ""
    message = replace(new.message, tag=tag, message_id=f"<{new.message.id}{foreign}@example.com>")
    deliveries = tuple(
        replace(delivery, recipient=Recipient(Mailbox(*recipient.rsplit("@", 1))))
        for delivery, recipient in zip(new.deliveries, recipients, strict=True)
    )
    detail: dict[str, str | int | float | bool | None] = {"sender": "app@example.com", "size": 100, "helo": foreign}
    event = Event(
        store.ids.next(), store.now(), EventType.ACCEPTED, account="app", queue_id=message.id, tag=tag, detail=detail
    )
    await store.accept(NewMessage(message, deliveries, new.content), [event])
    return message.id


async def _defer(store: SqliteStore, reply: Reply, host: str) -> None:
    (claimed,) = await store.claim(1)
    said = Try(host, "192.0.2.1", 25, "rcpt", reply, True)
    settlement = Settlement(
        claimed, State.QUEUED, reply, EventType.DEFERRED, tries=(said,), retry_in=timedelta(hours=1), site=host
    )
    event = Event(
        store.ids.next(),
        store.now(),
        EventType.DEFERRED,
        account="app",
        queue_id=claimed.message.id,
        delivery_id=claimed.delivery.id,
        recipient=str(claimed.delivery.recipient.mailbox),
        attempt=1,
        reply=reply,
        tries=(said,),
        duration=timedelta(seconds=1.5),
    )
    await store.settle(Settled(settlement, (event,)))
