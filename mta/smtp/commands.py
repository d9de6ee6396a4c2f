"""What every command does, as far as every door does the same (RFC 5321 §4.1.1). aiosmtpd finds them by name.

Thin on purpose: whether a command is in order is asked of a `Dialogue`, content is brought in by a `Reception`, and
what MAIL, RCPT and a content mean is each door's own. Reading commands, and counting them, is `session`'s.
"""

from abc import ABC, abstractmethod
from typing import NoReturn, TypeVar

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.budget import ReceiveBudget
from mta.smtp.chunks import Chunk, ChunkReader
from mta.smtp.content import ContentReader
from mta.smtp.data import DataReader
from mta.smtp.dialogue import Dialogue
from mta.smtp.outbox import Outbox
from mta.smtp.reception import Reception
from mta.smtp.settings import DoorSettings
from mta.smtp.wire import Gone, Wire

Reader = TypeVar("Reader", bound=ContentReader)


class Commands(Wire, ABC):
    """The verbs. A door adds its own."""

    def __init__(self, settings: DoorSettings, dialogue: Dialogue, budget: ReceiveBudget, outbox: Outbox) -> None:
        super().__init__(settings.hostname, settings.idle_timeout, settings.handshake_timeout, outbox)
        self._limits = settings
        self._dialogue = dialogue
        self._budget = budget
        self._reception: Reception | None = None
        self._chunks: ChunkReader | None = None
        self._chunks_failed = False

    # --- each door's own

    @abstractmethod
    async def _mail(self, argument: str) -> Reply:
        """Answer MAIL (RFC 5321 §4.1.1.2)."""

    @abstractmethod
    async def _rcpt(self, argument: str) -> Reply:
        """Answer RCPT (RFC 5321 §4.1.1.3)."""

    @abstractmethod
    def _content_reader(self, kind: type[Reader]) -> Reader:
        """Return a reader of this kind, for the content that follows."""

    @abstractmethod
    async def _take(self, content: ContentReader) -> Reply:
        """Answer the end of a content that the reader did not refuse."""

    # --- the session's

    @abstractmethod
    def _answer(self, verb: str, reply: Reply) -> None:
        """Say a reply, and count it."""

    @abstractmethod
    async def _encrypt(self) -> None:
        """Go on under TLS, and forget what was said in clear."""

    # --- the commands

    async def smtp_HELO(self, arg: str) -> None:
        """RFC 5321 §4.1.1.1."""
        self._answer("HELO", self._dialogue.hello(arg, extended=False))

    async def smtp_EHLO(self, arg: str) -> None:
        """RFC 5321 §4.1.1.1."""
        self._answer("EHLO", self._dialogue.hello(arg, extended=True))

    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        self._answer("MAIL", await self._mail(arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        if self._chunks is not None:
            return self._answer("RCPT", failures.IN_CHUNKS)
        return self._answer("RCPT", await self._rcpt(arg or ""))

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 §4.1.1.4."""
        refusal = failures.IN_CHUNKS if self._chunks is not None else self._dialogue.may_send_content(arg)
        if refusal is not None:
            return self._answer("DATA", refusal)
        self.say(failures.START_INPUT)
        await self.flush()
        content = self._content_reader(DataReader)
        await self._receive().data(content)
        reply = content.refusal or await self._take(content)
        self._dialogue.reset()
        return self._answer("DATA", reply)

    async def smtp_BDAT(self, arg: str) -> None:
        """RFC 3030 §2. Whatever is said of a chunk, its octets are read first."""
        if not self._dialogue.takes_chunks:
            return self._answer("BDAT", failures.UNKNOWN_COMMAND)
        try:
            chunk = Chunk.parse(arg)
        except ValueError:
            self._answer("BDAT", failures.BAD_CHUNK)
            self._fall_out_of_step()
        refusal = failures.CHUNKS_FAILED if self._chunks_failed else self._dialogue.may_send_content("")
        if refusal is not None:
            await self._receive().chunk(chunk.octets, None)
            return self._answer("BDAT", refusal)
        if self._chunks is None:
            self._chunks = self._content_reader(ChunkReader)
        reply = await self._chunk(chunk, self._chunks)
        if chunk.is_last or not reply.is_positive:
            self._dialogue.reset()
            # a client that pipelines learns of it only after it has sent more of them (RFC 3030 §4.2)
            self._chunks_failed = not chunk.is_last
        return self._answer("BDAT", reply)

    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            return self._answer("RSET", failures.BAD_SYNTAX)
        self._dialogue.reset()
        return self._answer("RSET", failures.OK)

    async def smtp_NOOP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.9."""
        self._answer("NOOP", failures.OK)

    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.8."""
        self._answer("HELP", failures.HELP)

    async def smtp_VRFY(self, arg: str) -> None:
        """RFC 5321 §3.5.3: nobody learns here who exists."""
        self._answer("VRFY", failures.CANNOT_VERIFY if arg else failures.BAD_SYNTAX)

    async def smtp_EXPN(self, arg: str) -> None:
        """RFC 5321 §3.5.2: there are no lists."""
        self._answer("EXPN", failures.NOT_IMPLEMENTED)

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954 §4: nobody logs in, unless a door lets them."""
        self._answer("AUTH", failures.NOT_IMPLEMENTED)

    async def smtp_QUIT(self, arg: str) -> None:
        """RFC 5321 §4.1.1.10."""
        if arg:
            return self._answer("QUIT", failures.BAD_SYNTAX)
        self.hang_up(failures.BYE)
        raise Gone

    async def smtp_STARTTLS(self, arg: str) -> None:
        """RFC 3207 §4. What was sent behind the command came in clear, and must not be read as if under TLS."""
        if refusal := self._dialogue.may_start_tls(arg):
            return self._answer("STARTTLS", refusal)
        if not self.feed.is_empty:
            self.hang_up(failures.PIPELINED_STARTTLS)
            raise Gone
        self.say(failures.READY_FOR_TLS)
        return await self._encrypt()

    # --- their parts

    def _receive(self) -> Reception:
        """Return what receives the content of this transaction."""
        if self._reception is None:
            self._reception = Reception(self, self._limits, self._budget.share())
        return self._reception

    async def _chunk(self, chunk: Chunk, content: ChunkReader) -> Reply:
        await self._receive().chunk(chunk.octets, content)
        if chunk.is_last:
            content.finish()
        if content.refusal is not None:
            return content.refusal
        return await self._take(content) if chunk.is_last else failures.chunk_taken(chunk.octets)

    def _drop_content(self) -> None:
        """Forget the content of a transaction that has ended, and give its room back."""
        self._chunks = None
        if self._reception is not None:
            self._reception.close()
            self._reception = None

    def _fall_out_of_step(self) -> NoReturn:
        """End a session in which octets of content could be read as commands.

        Raises:
            Gone: always.
        """
        self.hang_up(failures.OUT_OF_STEP)
        raise Gone
