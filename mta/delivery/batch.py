"""One mail transaction with several recipients, each with an answer of its own. What a transaction is made of otherwise
is in `transaction`; there is no flight here that holds envelope and content together, since what is shared is large.
"""

from collections.abc import Sequence

from mta.delivery import mishap
from mta.delivery.content import Shape
from mta.delivery.esmtp import Offers, mail_command, rcpt_command
from mta.delivery.talk import Talk
from mta.delivery.transaction import SMALL, StillOurs, Transaction
from mta.delivery.verdict import CLOSING, Refused, Stage, Verdict
from mta.mail.reply import Reply
from mta.queue.seams import Letter


def is_too_many(reply: Reply) -> bool:
    """Whether RCPT is refused for the number of those before it alone: 452, from old hosts 552 (RFC 5321 §4.5.3.1.10).

    Without a status 452 may also mean a full disk: asked again as one of fewer, the host says which it was.
    """
    status = str(reply.status) if reply.status is not None else None
    return (reply.code == 452 and status in (None, "4.5.3")) or (reply.code == 552 and status == "5.5.3")


class Batch(Transaction):
    """One of them."""

    def __init__(self, talk: Talk, offers: Offers, letter: Letter, still_ours: StillOurs, *, lmtp: bool) -> None:
        super().__init__(talk, offers, letter, still_ours)
        self._lmtp = lmtp
        self._accepted: list[int] = []
        """Whom the content is for, by their places in the letter."""
        self._surplus: dict[int, Verdict] = {}
        self._own: dict[int, Verdict | None] = {}
        """What was said of single recipients."""

    async def run_all(self, *, requiretls: bool) -> tuple[Verdict | None, ...]:
        """Make it; return a verdict for each recipient, in their order. Never raises Refused.

        None: the host took others, and would not have so many; such a one belongs into the next transaction.
        """
        try:
            verdict = await self._spoken(requiretls=requiretls)
        except Refused as refused:
            self._talk.drop()
            verdict = refused.verdict
        return tuple(self._own.get(place, verdict) for place in range(len(self._letter.recipients)))

    async def _spoken(self, *, requiretls: bool) -> Verdict:
        """Return what holds for all of whom nothing else was said."""
        letter, offers, talk = self._letter, self._offers, self._talk
        talk.dot_sent = False
        talk.stage = Stage.MAIL
        shape = Shape.of(letter)
        if objection := offers.objection(shape):
            return Verdict(Stage.MAIL, objection)
        mail = mail_command(letter, shape, offers, requiretls=requiretls)
        named = [rcpt_command(one, offers, named=True) for one in letter.recipients]
        ended = await (self._in_one_flight if offers.pipelining else self._one_by_one)(mail, named)
        if ended is not None:
            return ended
        if offers.chunking:
            return await self._chunks()
        return await (self._small_content() if shape.size <= SMALL else self._content())

    # up to the content

    async def _in_one_flight(self, mail: bytes, named: Sequence[bytes]) -> Verdict | None:
        talk = self._talk
        first = (b"RSET",) if talk.unfinished else ()
        last = () if self._offers.chunking else (b"DATA",)
        talk.say(Stage.MAIL, talk.limits.command, talk.wire.send, *first, mail, *named, *last)
        if first:
            await self._heard_reset()
        refusal = mishap.refusal(Stage.MAIL, await self._heard(Stage.MAIL))
        try:
            for place in range(len(named)):
                self._note(place, await self._heard(Stage.RCPT), is_refused=refusal is not None)
            refusal = refusal or self._close_envelope()
            to_data = await self._heard(Stage.DATA) if last else None
        except Refused:
            if refusal is None:
                raise
            talk.drop()
            return refusal
        if refusal is not None:
            await self._undo(refusal, to_data)
            return refusal
        return None if to_data is None else self._content_wanted(to_data)

    async def _one_by_one(self, mail: bytes, named: Sequence[bytes]) -> Verdict | None:
        talk = self._talk
        if talk.unfinished:
            self._say(Stage.MAIL, b"RSET")
            await self._heard_reset()
        refusal = mishap.refusal(Stage.MAIL, await self._asked(Stage.MAIL, mail))
        if refusal is None:
            for place, command in enumerate(named):
                self._note(place, await self._asked(Stage.RCPT, command), is_refused=False)
            refusal = self._close_envelope()
        if refusal is not None:
            await self._undo(refusal, None)
            return refusal
        if self._offers.chunking:
            return None
        return self._content_wanted(await self._asked(Stage.DATA, b"DATA"))

    def _note(self, place: int, reply: Reply, *, is_refused: bool) -> None:
        """Take note of an answer to RCPT; `is_refused`: MAIL was, and whatever is said now says nothing."""
        if is_refused:
            return
        verdict = mishap.refusal(Stage.RCPT, reply)
        if verdict is None:
            self._accepted.append(place)
        elif not verdict.remote:
            raise Refused(verdict)  # replies and commands may no longer match
        elif is_too_many(reply):
            self._surplus[place] = verdict
        else:
            self._own[place] = verdict

    def _close_envelope(self) -> Verdict | None:
        """All were answered for; return a refusal when nobody was accepted."""
        if self._accepted:
            self._own |= dict.fromkeys(self._surplus)
            return None
        # "too many" of nobody is a refusal like any other
        self._own |= self._surplus
        return self._own[0]

    def _content_wanted(self, to_data: Reply) -> Verdict | None:
        refusal = mishap.refusal(Stage.DATA, to_data)
        if refusal is not None:
            self._talk.unfinished = True
            if not refusal.remote:
                self._talk.drop()
        return refusal

    async def _asked(self, stage: Stage, command: bytes) -> Reply:
        self._say(stage, command)
        return await self._heard(stage)

    def _say(self, stage: Stage, command: bytes) -> None:
        self._talk.say(stage, self._talk.limits.command, self._talk.wire.send, command)

    async def _heard(self, stage: Stage) -> Reply:
        """Return the next reply. Raises Refused when it is the last."""
        reply = await self._talk.reply(stage)
        if reply.code == CLOSING:
            raise Refused(Verdict(stage, reply, remote=True))
        return reply

    # the content

    async def _last_look(self) -> Verdict | None:
        ended = await super()._last_look()
        if ended is None and self._lmtp:
            # the content is answered once for each recipient that was accepted (RFC 2033 §4.2)
            self._talk.wire.expect(len(self._accepted) - 1)
        return ended

    async def _answer_to_dot(self) -> Verdict:
        if not self._lmtp:
            return await super()._answer_to_dot()
        for place in self._accepted:
            verdict = self._own[place] = await super()._answer_to_dot()
        return verdict
