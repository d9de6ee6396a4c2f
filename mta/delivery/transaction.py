"""One mail transaction over an open connection, in as few flights as the host allows (RFC 5321 §3.3).

With PIPELINING, MAIL, RCPT and DATA are one flight (RFC 2920 §3.1). With CHUNKING besides, there is no 354 to wait
for, and a small message may be in that flight, too (RFC 3030 §4.2): the answer comes one round trip after the first
octet. Without the 354 nothing shows which reply is for the message but their number; whom to trust in this the caller
knows, who hears of each transaction in which 354 came in its place.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from msgspec.structs import replace

from mta.delivery import mishap
from mta.delivery.content import Shape, blocks, chunks
from mta.delivery.esmtp import Offers, mail_command, rcpt_command
from mta.delivery.replies import told
from mta.delivery.talk import Talk
from mta.delivery.verdict import CLOSING, Refused, Stage, Verdict
from mta.mail import failures
from mta.mail.reply import Reply
from mta.queue.seams import Letter

StillOurs = Callable[[], Awaitable[bool]]

SMALL = 32 * 1024
"""Octets of a message that are sent before anything is answered, so that a refusal costs no more than these."""

_Commands = tuple[bytes, bytes]
_ENVELOPE = (Stage.MAIL, Stage.RCPT)


class Transaction:
    """One of them. Each step returns None to go on, or the verdict that ends it."""

    def __init__(self, talk: Talk, offers: Offers, letter: Letter, still_ours: StillOurs) -> None:
        self._talk = talk
        self._offers = offers
        self._letter = letter
        self._still_ours = still_ours
        self.in_step = False
        """Whether 354 came in its place, behind the answers to MAIL and RCPT of the same flight."""
        self.in_one_flight = False
        """Whether all of it went out before anything was answered."""

    async def run(self, *, requiretls: bool, hurry: bool) -> Verdict:
        """Make it. Raises Refused when the connection cannot be used any more.

        `still_ours` is asked just before the last octets; when it says no, the connection is dropped. `requiretls`
        puts the parameter on MAIL. `hurry`: a small message may go out before anything was answered, if it can.
        """
        letter, offers, talk = self._letter, self._offers, self._talk
        talk.dot_sent = False
        talk.stage = Stage.MAIL
        shape = Shape.of(letter)
        if objection := offers.objection(shape):
            return Verdict(Stage.MAIL, objection)
        commands = (mail_command(letter, shape, offers, requiretls=requiretls), rcpt_command(letter.recipient, offers))
        small = shape.size <= SMALL
        if hurry and small and offers.chunking and offers.pipelining:
            return await self._one_flight(commands, shape.size)
        ask = self._pipelined if offers.pipelining else self._stepwise
        if offers.chunking and not (small and offers.pipelining):
            return await ask(commands) or await self._chunks()
        # a small message takes as long behind DATA as in a chunk, and 354 shows that replies and commands match
        if (refusal := await ask((*commands, b"DATA"))) is not None:
            return refusal
        self.in_step = offers.pipelining
        return await (self._small_content() if small else self._content())

    # up to the content

    async def _pipelined(self, commands: tuple[bytes, ...]) -> Verdict | None:
        """All commands in one flight (RFC 2920 §3.1). The first refusal counts, all replies are read."""
        talk = self._talk
        first = (b"RSET",) if talk.unfinished else ()
        talk.say(Stage.MAIL, talk.limits.command, talk.wire.send, *first, *commands)
        if first:
            await self._heard_reset()
        refusal, last = await self._answers((Stage.MAIL, Stage.RCPT, Stage.DATA)[: len(commands)])
        if refusal is not None and last is not None:
            await self._undo(refusal, last if len(commands) > len(_ENVELOPE) else None)
        return refusal

    async def _answers(self, stages: tuple[Stage, ...]) -> tuple[Verdict | None, Reply | None]:
        """Return the first refusal, and the last reply; None instead of that one when the connection is gone."""
        refusal: Verdict | None = None
        reply: Reply | None = None
        for stage in stages:
            try:
                reply = await self._talk.reply(stage)
            except Refused:
                if refusal is None:
                    raise
                self._talk.drop()
                return refusal, None
            refusal = refusal or mishap.refusal(stage, reply)
            if reply.code == CLOSING:
                self._talk.drop()
                return refusal, None
        return refusal, reply

    async def _undo(self, refusal: Verdict, to_data: Reply | None) -> None:
        """After a refusal, make the connection fit for the next transaction, or drop it."""
        talk = self._talk
        talk.unfinished = True
        if not refusal.remote:
            talk.drop()  # replies and commands may no longer match
        elif to_data is not None and to_data.code // 100 == 3:
            # it wants content for nobody: an empty message, whatever it says to it (RFC 2920 §3.1)
            try:
                talk.say(Stage.DATA, talk.limits.command, talk.wire.send_dot)
                await talk.reply(Stage.DATA)
                talk.unfinished = False
            except Refused:
                talk.drop()

    async def _stepwise(self, commands: tuple[bytes, ...]) -> Verdict | None:
        talk = self._talk
        if talk.unfinished:
            talk.say(Stage.MAIL, talk.limits.command, talk.wire.send, b"RSET")
            await self._heard_reset()
        for stage, command in zip((Stage.MAIL, Stage.RCPT, Stage.DATA), commands, strict=False):
            talk.say(stage, talk.limits.command, talk.wire.send, command)
            reply = await talk.reply(stage)
            refusal = mishap.refusal(stage, reply)
            if refusal is not None:
                talk.unfinished = True
                if reply.code == CLOSING or not refusal.remote:
                    talk.drop()
                return refusal
        return None

    async def _heard_reset(self) -> None:
        if (standing := await self._reset()) is not None:
            raise Refused(standing)

    async def _reset(self) -> Verdict | None:
        """Hear the answer to RSET; return why the transaction before this one may still stand."""
        reply = await self._talk.reply(Stage.MAIL)
        if reply.code // 100 == 2:
            self._talk.unfinished = False
            return None
        # it says so before MAIL: to the caller this connection is as good as lost
        if reply.code == CLOSING:
            return Verdict(Stage.MAIL, reply, remote=True)
        return Verdict(Stage.MAIL, told(failures.PROTOCOL_ERROR, f"RSET was refused: {reply}"))

    # the content behind DATA

    async def _content(self) -> Verdict:
        """Send it, piece by piece, and the dot. From here on nothing but the reply to the dot is success."""
        talk = self._talk
        if (ended := await self._flow(blocks(self._letter))) is not None:
            return ended
        if (ended := await self._last_look()) is not None:
            return ended
        talk.say(Stage.DOT, talk.limits.final, talk.wire.send_dot)
        talk.dot_sent = True
        return await self._answer_to_dot()

    async def _small_content(self) -> Verdict:
        """Send all of it and the dot in one write: nothing is heard between them in any case."""
        talk = self._talk
        if (ended := await self._last_look()) is not None:
            return ended
        talk.say(Stage.DATA, talk.limits.block, talk.wire.send_dot, b"".join(blocks(self._letter)))
        talk.dot_sent = True
        return await self._answer_to_dot()

    async def _flow(self, pieces: Iterable[bytes]) -> Verdict | None:
        """Write pieces; stop when the host speaks up, which it does only to say that it does not want the rest."""
        talk = self._talk
        try:
            for piece in pieces:
                async with talk.step(Stage.DATA, talk.limits.block):
                    await talk.wire.send_block(piece)
                if (early := self._interruption()) is not None:
                    return early
        except Refused:
            # a host that does not want the rest says so and closes: its word explains more than the loss
            if (early := self._interruption()) is not None:
                return early
            raise
        return None

    async def _last_look(self) -> Verdict | None:
        if not await self._still_ours():
            self._talk.drop()
            return Verdict(Stage.DOT, failures.LEASE_LOST)
        return self._interruption()

    # the content in chunks

    async def _chunks(self) -> Verdict:
        """Send it as two chunks, the second of which is the last piece: until that one, the mail can be dropped."""
        talk = self._talk
        *most, last = chunks(self._letter)
        if most and (ended := await self._chunk(most)) is not None:
            return ended
        if (ended := await self._last_look()) is not None:
            return ended
        try:
            async with talk.step(Stage.DOT, talk.limits.block):
                talk.wire.send(b"BDAT %d LAST" % len(last))
                # its end is known from here on, so that it may be taken before we hear of it
                talk.dot_sent = True
                await talk.wire.send_block(last)
        except Refused as refused:
            if not talk.wire.has_spoken:
                raise Refused(replace(refused.verdict, in_doubt=True)) from refused
        return await self._answer_to_dot()

    async def _chunk(self, pieces: list[bytes]) -> Verdict | None:
        """Send a chunk that is not the last, and hear whether more is wanted (RFC 3030 §2)."""
        talk = self._talk
        talk.say(Stage.DATA, talk.limits.command, talk.wire.send, b"BDAT %d" % sum(map(len, pieces)))
        whole = True
        try:
            for piece in pieces:
                async with talk.step(Stage.DATA, talk.limits.block):
                    await talk.wire.send_block(piece)
                if not talk.wire.is_awaiting:
                    whole = piece is pieces[-1]
                    break
        except Refused:
            whole = False
            if not talk.wire.has_spoken:
                raise
        reply = await talk.reply(Stage.DATA)
        refusal = mishap.refusal(Stage.MAIL, reply)
        if refusal is None and whole:
            return None
        if not whole or reply.code == CLOSING or (refusal is not None and not refusal.remote):
            talk.drop()
        talk.unfinished = True
        why = told(failures.PROTOCOL_ERROR, f"half a chunk was answered {reply}")
        return replace(refusal, stage=Stage.DATA) if refusal is not None else Verdict(Stage.DATA, why)

    async def _one_flight(self, commands: _Commands, size: int) -> Verdict:
        talk = self._talk
        if (ended := await self._last_look()) is not None:
            return ended
        self.in_one_flight = True
        first = (b"RSET",) if talk.unfinished else ()
        talk.say(
            Stage.MAIL,
            talk.limits.command,
            talk.wire.send_with,
            b"".join(chunks(self._letter)),
            *first,
            *commands,
            b"BDAT %d LAST" % size,
        )
        talk.dot_sent = True
        try:
            standing = await self._reset() if first else None
            if standing is not None and standing.reply.code == CLOSING:
                talk.dot_sent = False
                talk.drop()
                return standing
            refusal, last = await self._answers(_ENVELOPE)
        except Refused as refused:
            # no word about the envelope: all that was sent may have been taken
            raise Refused(replace(refused.verdict, in_doubt=True)) from refused
        if refusal is not None and standing is not None:
            await self._give_up(standing, last)
        if refusal is None:
            verdict = await self._answer_to_dot()
            said = talk.wire.out_of_turn
            if said is not None and said.code != CLOSING:
                # more replies than commands: which of them was for the chunk, nobody knows
                talk.drop()
                reply = told(failures.PROTOCOL_ERROR, f"more replies than commands: {mishap.heard(said)}")
                return Verdict(Stage.DOT, reply, in_doubt=True)
            return verdict
        # nobody was named, so that nothing can have been taken, whatever it says to the chunk
        talk.dot_sent = False
        talk.unfinished = True
        if not refusal.remote:
            talk.drop()
        elif last is not None:
            await self._pass_over_chunk()
        return refusal

    async def _give_up(self, standing: Verdict, last: Reply | None) -> NoReturn:
        """The transaction before may stand, and what is refused may be refused for that: it says nothing of ours.

        Nothing was taken if the chunk is refused, too; else somebody may have it.
        """
        in_doubt = True
        if last is not None:
            with suppress(Refused):  # no answer: in doubt it is
                in_doubt = (await self._talk.reply(Stage.DOT)).is_positive
        raise Refused(replace(standing, in_doubt=in_doubt))

    async def _pass_over_chunk(self) -> None:
        try:
            reply = await self._talk.reply(Stage.DOT)
        except Refused:
            self._talk.drop()
            return
        if reply.is_positive or reply.code == CLOSING:
            self._talk.drop()  # it took a message for nobody: who knows what it will take for an answer

    # the end

    async def _answer_to_dot(self) -> Verdict:
        talk = self._talk
        try:
            reply = await talk.reply(Stage.DOT)
        except Refused as refused:
            raise Refused(replace(refused.verdict, in_doubt=True)) from refused
        talk.unfinished = False
        if reply.code // 100 == 3:
            talk.drop()
            return Verdict(Stage.DOT, told(failures.PROTOCOL_ERROR, f"the dot was answered {reply}"), in_doubt=True)
        if reply.code == CLOSING:
            talk.drop()
        return Verdict(Stage.DOT, reply, remote=True)

    def _interruption(self) -> Verdict | None:
        said = self._talk.wire.out_of_turn
        if said is None:
            return None
        self._talk.drop()
        reply = mishap.heard(said)
        known = mishap.refusal(Stage.DATA, reply)
        return known or Verdict(Stage.DATA, told(failures.PROTOCOL_ERROR, str(said.code)))
