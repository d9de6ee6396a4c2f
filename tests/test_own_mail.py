"""Reports of ours on their way into the queue."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mta.delivery.tls_report_mail import ReportMail
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify
from mta.own_mail import OwnMail
from mta.queue.records import OURS, Records
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.storage.disk import open_store

MAIL = ReportMail(b"From: <postmaster@example.com>\r\nTLS-Required: No\r\n", b"{}\r\n", "<r1@example.com>")
TO = (Mailbox("tls", "example.net"), Mailbox("tls", "example.org"))


@dataclass
class _Notes:
    events: list[Event] = field(default_factory=list)

    def observe(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with open_store(str(tmp_path / "queue.db"), FakeClock()) as store:
        yield store


async def test_a_report_is_queued_from_the_null_reverse_path_and_nothing_comes_back(store: SqliteStore) -> None:
    notes = _Notes()
    await OwnMail(store, store.ids, "example.com", notes).report(MAIL, TO)
    claimed = await store.claim(10)
    assert sorted(str(one.delivery.recipient.mailbox) for one in claimed) == ["tls@example.net", "tls@example.org"]
    for one in claimed:
        message, delivery = one.message, one.delivery
        assert message.reverse_path.is_null
        assert (message.account, message.from_domain, message.message_id) == (OURS, "example.com", "<r1@example.com>")
        assert (delivery.return_path, delivery.recipient.notify) == (None, frozenset({Notify.NEVER}))
        assert Records("mail.example.com", store.ids, store.now).is_notification(message)
    content = await store.content(claimed[0].message.id)
    assert (content.header, b"".join(content.body)) == (MAIL.header, MAIL.body)
    assert message.size == len(MAIL.header) + 2 + len(MAIL.body)


async def test_its_acceptance_is_an_event_and_in_nobodys_ratios(store: SqliteStore) -> None:
    notes = _Notes()
    await OwnMail(store, store.ids, "example.com", notes).report(MAIL, TO)
    (event,) = notes.events
    assert (event.type, event.account, event.message_id) == (EventType.ACCEPTED, OURS, "<r1@example.com>")
    assert event.detail["notification"] is True
    assert event.detail["recipients"] == 2
