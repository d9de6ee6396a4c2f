"""Several recipients in one transaction: each has its own outcome, whatever the host does and when."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.clock import SystemClock
from mta.delivery.batch import is_too_many
from mta.delivery.transport import SmtpTransport
from mta.demo.listener import listening
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify, Recipient
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.mail.reply import Reply
from mta.queue.seams import Host, Letter, Site
from tests.delivery.world import SHORT, Zone, letter, ours, settings, transport

WAYS = [(), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING")]
BODIES = [(b"Hello\r\n",), (b"x" * 70 + b"\r\n",) * 1000]
A, B, C, D = (f"{name}@example.net" for name in "abcd")
OK = b"250 2.1.5 ok"


@dataclass
class Peer:
    """A host that answers each recipient as it is told. An empty answer hangs up, None is silence for ever."""

    offers: tuple[str, ...] = ()
    lmtp: bool = False
    most: int = 1000
    """How many recipients are taken in one transaction."""
    answers: dict[str, bytes | None] = field(default_factory=dict)
    """By command, address, or, for what LMTP says of the content, `dot ` and address."""
    once: dict[str, bytes | None] = field(default_factory=dict)
    """The same, for the next time only."""
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    taken: list[tuple[str, ...]] = field(default_factory=list)
    """For whom each content was, in order."""
    contents: list[bytes] = field(default_factory=list)

    @property
    def site(self) -> Site:
        """Where it is."""
        return Site("mx1.example.net", (Host("mx1.example.net", self.port, lmtp=self.lmtp),))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak."""
        self.connections += 1
        try:
            await _Talk(self, reader, writer).run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def listen(peer: Peer) -> AsyncIterator[Peer]:
    async with listening(peer.serve, "127.0.0.1", 0) as peer.port:
        yield peer


class _Talk:
    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peer, self._reader, self._writer = peer, reader, writer
        self._named: list[str] = []
        self._chunks = b""

    async def run(self) -> None:
        await self._say("greeting", b"220 peer")
        while line := await self._reader.readline():
            command = line.decode().rstrip("\r\n")
            self._peer.commands.append(command)
            verb = command.partition(" ")[0].upper()
            match verb:
                case "EHLO" | "LHLO":
                    words = ["peer", *self._peer.offers]
                    told = [f"250{' ' if one is words[-1] else '-'}{one}" for one in words]
                    await self._say(verb, "\r\n".join(told).encode())
                case "MAIL" | "RSET":
                    self._named, self._chunks = [], b""
                    await self._say(verb, b"250 2.0.0 ok")
                case "RCPT":
                    await self._rcpt(command.partition("<")[2].partition(">")[0])
                case "DATA":
                    usual = b"354 go on" if self._named else b"554 5.5.1 no recipients"
                    if (await self._say("DATA", usual))[:3] == b"354":
                        lines = []
                        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
                            lines.append(line)
                        await self._take(b"".join(lines))
                case "BDAT":
                    words = command.split()
                    self._chunks += await self._reader.readexactly(int(words[1]))
                    if words[2:] == ["LAST"]:
                        await self._take(self._chunks)
                    else:
                        await self._say("chunk", b"250 2.0.0 chunk")
                case _:
                    await self._say(verb, b"221 2.0.0 bye")
                    return

    async def _rcpt(self, address: str) -> None:
        usual = OK if len(self._named) < self._peer.most else b"452 4.5.3 too many recipients"
        if (await self._say(address, usual))[:1] == b"2":
            self._named.append(address)

    async def _take(self, content: bytes) -> None:
        self._peer.contents.append(content)
        if not self._named:
            await self._say("empty", b"554 5.5.1 no recipients")
            return
        if self._peer.lmtp:
            said = {one: await self._say(f"dot {one}", b"250 2.0.0 taken") for one in self._named}
            self._peer.taken.append(tuple(one for one in self._named if said[one][:1] == b"2"))
        elif (await self._say("dot", b"250 2.0.0 taken"))[:1] == b"2":
            self._peer.taken.append(tuple(self._named))
        self._named = []

    async def _say(self, about: str, usual: bytes) -> bytes:
        said = self._peer.once.pop(about, self._peer.answers.get(about, usual))
        if said is None:
            while await self._reader.read(65536):
                pass
            raise ConnectionAbortedError
        if not said:
            raise ConnectionAbortedError
        self._writer.write(said + b"\r\n")
        await self._writer.drain()
        return said


def batch(*addresses: str, body: tuple[bytes, ...] = BODIES[0]) -> Letter:
    first, *others = (Recipient(Mailbox.parse(one)) for one in addresses)
    return replace(letter(recipient=first, body=body), others=tuple(others))


async def send(peer: Peer, one: Letter) -> tuple[Outcome | None, ...]:
    async with transport() as sending:
        return await sending.deliver_batch(one, peer.site, ours)


def told(outcomes: Sequence[Outcome | None]) -> list[str]:
    return ["next" if one is None else f"{type(one).__name__} {one.reply.code}" for one in outcomes]


every_way = pytest.mark.parametrize(
    ("offers", "body"), [(offers, body) for offers in WAYS for body in BODIES], ids=lambda one: str(one)[:30]
)


@every_way
async def test_all_are_named_in_one_transaction_and_share_the_answer(
    offers: tuple[str, ...], body: tuple[bytes, ...]
) -> None:
    async with listen(Peer(offers)) as peer:
        outcomes = await send(peer, batch(A, B, C, body=body))
    assert told(outcomes) == ["Delivered 250"] * 3
    assert peer.taken == [(A, B, C)]
    assert peer.contents[0].endswith(b"".join(body))
    for outcome in outcomes:
        assert outcome is not None
        assert [(one.stage, one.remote) for one in outcome.tries] == [("dot", True)]


NO_USER, GREY, SURPLUS = b"550 5.1.1 no such user", b"450 4.2.0 greylisted", b"452 4.5.3 too many recipients"
TAKEN, REFUSED, LATER = "Delivered 250", "Bounced 550", "Deferred 450"
TABLE: dict[str, tuple[dict[str, bytes], list[str], list[tuple[str, ...]]]] = {
    "one is unknown": ({B: NO_USER}, [TAKEN, REFUSED, TAKEN], [(A, C)]),
    "two are refused": ({A: NO_USER, B: GREY}, [REFUSED, LATER, TAKEN], [(C,)]),
    "all are refused": ({A: NO_USER, B: GREY, C: b"551 5.7.1 no"}, [REFUSED, LATER, "Bounced 551"], []),
    "one too many": ({C: SURPLUS}, [TAKEN, TAKEN, "next"], [(A, B)]),
    "the first too many": ({A: b"452 too many"}, ["next", TAKEN, TAKEN], [(B, C)]),
    "too many of nobody": ({A: SURPLUS, B: NO_USER, C: SURPLUS}, ["Deferred 452", REFUSED, "Deferred 452"], []),
    "a full mailbox": ({B: b"452 4.2.2 full"}, [TAKEN, "Deferred 452", TAKEN], [(A, C)]),
    "too many, and the content later": (
        {B: SURPLUS, "dot": b"451 4.3.0 later"},
        ["Deferred 451", "next", "Deferred 451"],
        [],
    ),
    "one is unknown, and the content spam": (
        {B: NO_USER, "dot": b"554 5.7.1 spam"},
        ["Bounced 554", REFUSED, "Bounced 554"],
        [],
    ),
    "no mail at all": (
        {"MAIL": b"451 4.3.0 later", **dict.fromkeys((A, B, C), b"503 5.5.1 need MAIL")},
        ["Deferred 451"] * 3,
        [],
    ),
}


@every_way
@pytest.mark.parametrize(("answers", "expected", "taken"), TABLE.values(), ids=TABLE)
async def test_each_has_its_own_outcome_and_the_connection_goes_on(
    offers: tuple[str, ...],
    body: tuple[bytes, ...],
    answers: dict[str, bytes],
    expected: list[str],
    taken: list[tuple[str, ...]],
) -> None:
    async with listen(Peer(offers, answers=dict(answers))) as peer, transport() as sending:
        assert told(await sending.deliver_batch(batch(A, B, C, body=body), peer.site, ours)) == expected
        assert peer.taken == taken
        peer.answers.clear()
        assert told(await sending.deliver_batch(batch(A, D), peer.site, ours)) == ["Delivered 250"] * 2
        assert isinstance(await sending.deliver(letter(), peer.site, ours), Delivered)
    assert peer.connections == 1
    assert peer.taken == [*taken, (A, D), (A,)]


@pytest.mark.parametrize("offers", [WAYS[1]])
async def test_content_that_is_wanted_for_nobody_is_an_empty_message(offers: tuple[str, ...]) -> None:
    answers: dict[str, bytes | None] = {A: b"550 5.1.1 no", B: b"550 5.1.1 no", "DATA": b"354 go on"}
    async with listen(Peer(offers, answers=answers)) as peer, transport() as sending:
        assert told(await sending.deliver_batch(batch(A, B), peer.site, ours)) == ["Bounced 550"] * 2
        assert peer.contents == [b""]
        assert peer.taken == []
        peer.answers.clear()
        assert told(await sending.deliver_batch(batch(A, B), peer.site, ours)) == ["Delivered 250"] * 2
    assert peer.connections == 1
    assert "RSET" not in peer.commands


@every_way
@pytest.mark.parametrize(
    ("answers", "stage"),
    [({"dot": b""}, "dot"), ({"dot": None}, "dot"), ({"dot": b"350 more"}, "dot")],
)
async def test_a_lost_answer_to_the_dot_is_in_doubt_for_those_who_were_accepted(
    offers: tuple[str, ...], body: tuple[bytes, ...], answers: dict[str, bytes | None], stage: str
) -> None:
    peer = Peer(offers, answers={B: b"550 5.1.1 no", D: b"452 4.5.3 too many", **answers})
    async with listen(peer), transport(settings(final=SHORT)) as sending:
        outcomes = await sending.deliver_batch(batch(A, B, C, D, body=body), peer.site, ours)
    assert told(outcomes) == ["Deferred 451", "Bounced 550", "Deferred 451", "next"]
    for outcome in (outcomes[0], outcomes[2]):
        assert isinstance(outcome, Deferred)
        assert outcome.in_doubt
        assert outcome.tries[-1].stage == stage


@pytest.mark.parametrize("offers", WAYS)
@pytest.mark.parametrize("said", [b"", b"421 4.3.2 going away"])
async def test_a_connection_lost_at_rcpt_leaves_the_others_to_the_next_host(
    offers: tuple[str, ...], said: bytes
) -> None:
    first = Peer(offers, answers={A: b"550 5.1.1 no", C: said})
    second = Peer(offers)
    async with listen(first), listen(second), transport() as sending:
        both = Site("mx", (*first.site.hosts, Host("mx2.example.net", second.port)))
        outcomes = await sending.deliver_batch(batch(A, B, C, D), both, ours)
    assert told(outcomes) == ["Bounced 550", "Delivered 250", "Delivered 250", "Delivered 250"]
    assert second.taken == [(B, C, D)]
    assert first.taken == []
    for outcome in outcomes[1:]:
        assert outcome is not None
        assert [(one.host, one.stage) for one in outcome.tries] == [
            ("mx1.example.net", "rcpt"),
            ("mx2.example.net", "dot"),
        ]
    assert outcomes[0] is not None
    assert [(one.host, one.stage) for one in outcomes[0].tries] == [("mx1.example.net", "rcpt")]


@pytest.mark.parametrize("offers", WAYS[:2])
@pytest.mark.parametrize("said", [b"", b"451 4.3.0 no", b"554 5.5.1 no", b"421 4.3.2 bye", b"250 2.0.0 what"])
async def test_data_refused_is_refused_for_those_who_were_accepted(offers: tuple[str, ...], said: bytes) -> None:
    async with listen(Peer(offers, answers={B: b"550 5.1.1 no", "DATA": said})) as peer:
        outcomes = await send(peer, batch(A, B, C))
    kind = Bounced if said[:1] == b"5" else Deferred
    assert isinstance(outcomes[0], kind)
    assert isinstance(outcomes[2], kind)
    assert isinstance(outcomes[1], Bounced)
    assert outcomes[1].reply.code == 550
    assert peer.taken == []


@pytest.mark.parametrize("offers", WAYS)
async def test_an_answer_that_is_none_makes_nobody_delivered(offers: tuple[str, ...]) -> None:
    async with listen(Peer(offers, answers={B: b"354 go on"})) as peer:
        outcomes = await send(peer, batch(A, B, C))
    assert all(isinstance(one, Deferred) and not one.in_doubt for one in outcomes)
    assert peer.taken == []


@pytest.mark.parametrize("offers", WAYS)
async def test_nobody_reached_is_one_story_for_all(offers: tuple[str, ...]) -> None:
    async with listen(Peer(offers, answers={"greeting": b"554 5.7.1 you are listed"})) as peer:
        outcomes = await send(peer, batch(A, B))
    assert told(outcomes) == ["Deferred 554"] * 2


@every_way
async def test_lmtp_answers_for_each_recipient(offers: tuple[str, ...], body: tuple[bytes, ...]) -> None:
    answers: dict[str, bytes | None] = {B: b"550 5.1.1 no", f"dot {C}": b"452 4.2.2 full"}
    async with listen(Peer(offers, lmtp=True, answers=answers)) as peer, transport() as sending:
        outcomes = await sending.deliver_batch(batch(A, B, C, D, body=body), peer.site, ours)
        assert told(outcomes) == ["Delivered 250", "Bounced 550", "Deferred 452", "Delivered 250"]
        assert peer.taken == [(A, D)]
        assert told(await sending.deliver_batch(batch(A, D), peer.site, ours)) == ["Delivered 250"] * 2
    assert peer.connections == 1


async def test_lmtp_that_falls_silent_among_its_answers_leaves_only_the_rest_in_doubt() -> None:
    answers: dict[str, bytes | None] = {A: b"550 5.1.1 no", f"dot {C}": b""}
    async with listen(Peer(WAYS[1], lmtp=True, answers=answers)) as peer:
        outcomes = await send(peer, batch(A, B, C, D))
    assert told(outcomes) == ["Bounced 550", "Delivered 250", "Deferred 451", "Deferred 451"]
    assert [one.in_doubt for one in outcomes if isinstance(one, Deferred)] == [True, True]


@every_way
async def test_a_lease_lost_before_the_dot_delivers_to_nobody(offers: tuple[str, ...], body: tuple[bytes, ...]) -> None:
    async def lost() -> bool:
        return False

    async with listen(Peer(offers)) as peer, transport() as sending:
        outcomes = await sending.deliver_batch(batch(A, B, body=body), peer.site, lost)
    assert all(isinstance(one, Deferred) and not one.in_doubt for one in outcomes)
    assert peer.taken == []


LATE = settings(attempt=timedelta(seconds=3))


async def test_an_attempt_out_of_time_is_in_doubt_for_all_of_its_transaction() -> None:
    async with listen(Peer(WAYS[1], answers={"dot": None})) as peer, transport(LATE) as sending:
        outcomes = await sending.deliver_batch(batch(A, B), peer.site, ours)
    assert [isinstance(one, Deferred) and one.in_doubt for one in outcomes] == [True, True]


async def test_an_idle_connection_that_has_ended_costs_nothing() -> None:
    async with listen(Peer(WAYS[1])) as peer, transport() as sending:
        await sending.deliver_batch(batch(A, B), peer.site, ours)
        peer.once["MAIL"] = b""
        assert told(await sending.deliver_batch(batch(A, B), peer.site, ours)) == ["Delivered 250"] * 2
    assert peer.connections == 2
    assert peer.taken == [(A, B), (A, B)]


async def test_a_refusal_of_us_goes_the_other_way_for_those_it_is_about() -> None:
    first, second = Peer(answers={B: b"550 5.7.1 listed", C: b"550 5.1.1 no"}), Peer()

    async with listen(first), listen(second):
        way = replace(first.site, fallback=(Host("relay.example.net", second.port, trusted=True),))
        sending = SmtpTransport(settings(), Zone(), SystemClock(), is_about_us=lambda one: str(one.status) == "5.7.1")
        outcomes = await sending.deliver_batch(batch(A, B, C), way, ours)
        await sending.close()
    assert told(outcomes) == ["Delivered 250", "Delivered 250", "Bounced 550"]
    assert (first.taken, second.taken) == ([(A,)], [(B,)])


async def test_each_recipient_is_named_to_reports_and_keeps_its_own_wishes() -> None:
    one = replace(
        batch(A),
        others=(
            Recipient(Mailbox.parse(B), frozenset({Notify.NEVER})),
            Recipient(Mailbox.parse(C), orcpt=f"rfc822;{C}"),
        ),
    )
    async with listen(Peer(("PIPELINING", "DSN"))) as peer:
        await send(peer, one)
    assert [command for command in peer.commands if command.startswith("RCPT")] == [
        f"RCPT TO:<{A}> ORCPT=rfc822;{A}",
        f"RCPT TO:<{B}> NOTIFY=NEVER ORCPT=rfc822;{B}",
        f"RCPT TO:<{C}> ORCPT=rfc822;{C}",
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply.of(452, "4.5.3", "too many"), True),
        (Reply(452, None, "too many"), True),
        (Reply.of(552, "5.5.3", "too many"), True),
        (Reply(552, None, "mailbox full"), False),
        (Reply.of(452, "4.2.2", "full"), False),
        (Reply.of(452, "4.3.1", "no space"), False),
        (Reply.of(450, "4.5.3", "what"), False),
        (Reply.of(421, "4.5.3", "bye"), False),
    ],
)
def test_too_many_is_452(reply: Reply, expected: bool) -> None:
    assert is_too_many(reply) is expected
