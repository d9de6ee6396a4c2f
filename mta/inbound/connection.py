"""One host that brings something back: what it may say beyond what clients of any listener may (RFC 5321 §4).

Nobody logs in here and nothing is submitted. Content with bare line ends is taken: reports of the real world have them,
and what is not relayed cannot smuggle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mta.clock import Clock
from mta.errors import StoreFull, StoreUnavailable
from mta.inbound.dialogue import InboundDialogue
from mta.inbound.parameters import MAX_MAIL_LINE, MAX_RCPT_LINE
from mta.inbound.returns import ReceivedReturn, Returns
from mta.inbound.rules import Doorman
from mta.inbound.settings import HEAD, InboundSettings
from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.commands import Reader
from mta.smtp.content import ContentReader
from mta.smtp.counts import Counts, Uncounted
from mta.smtp.session import House, Session
from mta.smtp.settings import Kind
from mta.smtp.unbroken import Unbroken

ROLE = "inbound"


@dataclass(frozen=True, slots=True)
class InboundServices:
    """What every connection works with."""

    settings: InboundSettings
    doorman: Doorman
    returns: Returns
    clock: Clock
    incident: Callable[[], str]
    """Makes a number under which something unexpected is found in the log."""
    counts: Counts = field(default_factory=Uncounted)


class InboundConnection(Session):
    """Speaks with one host until it goes."""

    role: ClassVar[str] = ROLE
    line_limits: ClassVar[Mapping[str, int]] = {"MAIL": MAX_MAIL_LINE, "RCPT": MAX_RCPT_LINE}
    _dialogue: InboundDialogue

    def __init__(self, services: InboundServices, kind: Kind, house: House, unbroken: Unbroken) -> None:
        settings = services.settings
        dialogue = InboundDialogue(settings, kind, services.doorman)
        super().__init__(settings, kind, house, dialogue, services.incident, services.counts)
        self._services = services
        self._unbroken = unbroken

    def _weight(self, verb: str, reply: Reply) -> int:
        # whoever tries name after name is not bringing anything back
        return 1 if verb == "RCPT" and reply.is_permanent else super()._weight(verb, reply)

    async def _mail(self, argument: str) -> Reply:
        return self._dialogue.mail(argument)

    async def _rcpt(self, argument: str) -> Reply:
        return self._dialogue.rcpt(argument)

    def _content_reader(self, kind: type[Reader]) -> Reader:
        return kind(self._services.settings.max_message_size, as_it_is=True, keep=HEAD)

    async def _take(self, content: ContentReader) -> Reply:
        received = ReceivedReturn(
            addressees=self._dialogue.addressees,
            reverse_path=self._dialogue.reverse_path,
            octets=b"".join(content.pieces()),
            size=content.size,
            client=self._client(),
            at=self._services.clock.now(),
        )
        try:
            return await self._unbroken.run(self._services.returns.take(received))
        except StoreFull:
            return failures.NO_SPACE
        except StoreUnavailable:
            return failures.STORE_UNAVAILABLE
