"""What the inbound door takes in, handed to those who can act on it: reports to the processor, letters to the store.

The reply is 250 whenever nothing more can be made of a content, also of a forged one: it is counted and dropped, and
its sender learns nothing.
"""

import asyncio
import logging
from typing import Protocol

from mta.bounces.processor import Effect, Processor
from mta.inbound.returns import ReceivedReturn
from mta.inbound.rules import Addressee, Feedback, Letter, ReturnPath, SharedPath
from mta.mail import failures
from mta.mail.header import Header, split
from mta.mail.reply import Reply, clean
from mta.queue.returned import ReturnNote

_MAX_SUBJECT = 300

_log = logging.getLogger(__name__)


class Shelf(Protocol):
    """Where letters are kept."""

    async def keep(self, letter: ReturnNote) -> None:
        """Keep a letter."""
        ...

    def new_id(self) -> str:
        """Return an identifier for a letter."""
        ...


class Mailroom:
    """Takes in what came back."""

    def __init__(self, processor: Processor, shelf: Shelf) -> None:
        self._processor = processor
        self._shelf = shelf

    async def take(self, received: ReceivedReturn) -> Reply:
        """Let each of a content's addressees have it; return the reply to the final dot.

        Raises:
            StoreUnavailable: nothing came of it for one of them; told again, it counts once.
        """
        for addressee in received.addressees:
            effect = await self._give(addressee, received)
            _log.info("from %s for %s: %s", received.client.address, _named(addressee), effect)
        return failures.OK

    async def _give(self, addressee: Addressee, received: ReceivedReturn) -> str:
        match addressee:
            case ReturnPath(delivery_id):
                return await self._processor.returned(delivery_id, received.octets)
            case SharedPath(path):
                return await self._processor.returned_to_group(path, received.octets)
            case Feedback():
                return await self._processor.fed_back(received.octets)
            case Letter(desk):
                await self._shelf.keep(await asyncio.to_thread(self._letter, desk.value, received))
                return Effect.NOTED

    def _letter(self, desk: str, received: ReceivedReturn) -> ReturnNote:
        header, _ = split(received.octets)
        subject = Header.parse(header).first("Subject")
        return ReturnNote(
            id=self._shelf.new_id(),
            at=received.at,
            kind=desk,
            recipient=clean(received.reverse_path)[:_MAX_SUBJECT] or None,
            text=clean(subject.text)[:_MAX_SUBJECT] if subject is not None else "",
            effect="kept",
            octets=received.octets,
        )


def _named(addressee: Addressee) -> str:
    match addressee:
        case ReturnPath(delivery_id):
            return f"the return path of {delivery_id}"
        case SharedPath(path):
            return f"a shared return path of {path.queue_id}"
        case Feedback():
            return "the feedback address"
        case Letter(desk):
            return desk.value
