"""From the final dot to the store: what is kept, what is refused, and what becomes of a client that leaves."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta

import pytest

from mta.accounts.account import Directory
from mta.dkim.body_hash import RelaxedBodyHash
from mta.errors import StoreFull, StoreUnavailable
from mta.events import Event, EventType
from mta.mail.envelope import BodyType, Notify, Return
from mta.queue.model import NewMessage, State, Stream
from mta.queue.store import Accepted
from mta.submission.acceptor import AcceptorSettings
from tests.submission.conftest import HEADER, HOSTNAME, PLAIN, SHOP, House, OpenHouse


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"body\r\n",
        b" trailing blanks \t \r\n\r\n\r\n",
        b"\xff\xfe8-bit \xc3\xa9\r\n",
        b"x" * 998 + b"\r\n",
        b"From: no field\r\n\r\n--boundary\r\n",
        b"".join(b"%06d 0123456789\r\n" % n for n in range(40_000)),
    ],
    ids=["none", "short", "blanks", "8-bit", "998 octets", "like a header", "700 KB"],
)
async def test_the_body_is_kept_octet_for_octet(house: House, body: bytes) -> None:
    async with await house.logged_in() as talk:
        assert (await talk.submit(HEADER + b"\r\n" + body + b".\r\n")).startswith("250 2.0.0 Ok: queued as ")
    octets, message = house.octets(), house.messages[0]
    assert octets.partition(b"\r\n\r\n")[2] == body
    assert octets.partition(b"\r\n\r\n")[0].endswith(HEADER.removesuffix(b"\r\n"))
    assert (message.size, message.checksum) == (len(octets), hashlib.sha256(octets).digest())
    hashed = RelaxedBodyHash()
    hashed.update(body)
    assert message.body_hash == hashed.digest()


async def test_stuffed_dots_are_taken_off(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n..\r\n..a\r\n...\r\n.\r\n")
    assert house.octets().endswith(b"\r\n\r\n.\r\n.a\r\n..\r\n")


async def test_what_was_said_of_a_message_is_kept_with_it(house: House) -> None:
    control = (
        b'X-MTA-Stream: bulk\r\nX-MTA-Tag: t\r\nX-MTA-Topic: n\r\nX-MTA-Metadata: {"a": 1}\r\nX-MTA-Expires: 15m\r\n'
    )
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example> RET=HDRS ENVID=Q+2B")
        await talk.ask("RCPT TO:<B@example.net> NOTIFY=SUCCESS ORCPT=rfc822;Old@example.net")
        await talk.ask("DATA")
        reply = await talk.ask((control + HEADER).decode() + "\r\n.")
    (message,) = house.messages
    (row,) = house.store.memory.rows.values()
    assert reply == f"250 2.0.0 Ok: queued as {message.id}"
    assert (message.account, message.stream, str(message.reverse_path)) == ("shop", Stream.BULK, "a@own.example")
    assert (message.tag, message.topic, message.metadata) == ("t", "n", '{"a": 1}')
    assert message.expires_at == house.clock.now() + timedelta(minutes=15)
    assert (message.from_domain, message.message_id) == ("own.example", "<1@own.example>")
    assert (message.ret, message.envid) == (Return.HEADERS, "Q+")
    recipient = row.delivery.recipient
    assert str(recipient.mailbox) == "B@example.net"
    assert (recipient.notify, recipient.orcpt) == (frozenset({Notify.SUCCESS}), "rfc822;Old@example.net")
    assert b"X-MTA" not in house.octets()


async def test_each_delivery_has_a_return_path_of_its_own_that_proves_it(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n", "b@example.net", "c@example.net")
    for delivery_id, row in house.store.memory.rows.items():
        path = row.delivery.return_path
        assert path is not None
        assert path.domain == "bounces.own.example"
        assert house.return_paths.prove(path.local_part) == delivery_id


async def test_mail_from_the_null_reverse_path_has_no_return_path(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
    assert [row.delivery.return_path for row in house.store.memory.rows.values()] == [None]


async def test_the_acceptance_is_told_after_the_commit(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n", "b@example.net", "c@example.net")
    (event,) = house.watcher.events
    assert house.store.events == [event]
    assert (event.type, event.account, event.stream) == (EventType.ACCEPTED, "shop", "transactional")
    assert (event.queue_id, event.message_id) == (house.messages[0].id, "<1@own.example>")
    assert event.detail == {
        "sender": str(house.messages[0].reverse_path),
        "size": house.messages[0].size,
        "recipients": 2,
        "protocol": "ESMTPA",
        "helo": "client.example.net",
    }


@pytest.mark.parametrize(
    ("parameters", "content", "body_type", "smtputf8", "protocol"),
    [
        ("", b"a", BodyType.SEVEN_BIT, False, b"ESMTPA"),
        ("", b"\xe9", BodyType.EIGHT_BIT, False, b"ESMTPA"),
        (" BODY=7BIT", b"\xe9", BodyType.EIGHT_BIT, False, b"ESMTPA"),
        (" BODY=8BITMIME", b"a", BodyType.SEVEN_BIT, False, b"ESMTPA"),
        (" SMTPUTF8", b"a", BodyType.SEVEN_BIT, False, b"UTF8SMTPA"),
        (" SMTPUTF8", b"\xc3\xa9", BodyType.EIGHT_BIT, True, b"UTF8SMTPA"),
    ],
)
async def test_a_message_demands_of_the_next_host_what_it_needs(
    house: House, parameters: str, content: bytes, body_type: BodyType, smtputf8: bool, protocol: bytes
) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n" + content + b"\r\n.\r\n", parameters=parameters)
    assert (house.messages[0].body_type, house.messages[0].smtputf8) == (body_type, smtputf8)
    assert b" with " + protocol + b" id " in house.octets()


async def test_an_address_beyond_ascii_demands_smtputf8(house: House) -> None:
    async with await house.logged_in() as talk:
        reply = await talk.submit(HEADER + b"\r\n.\r\n", "é@bücher.example", parameters=" SMTPUTF8")
    assert reply.startswith("250")
    assert house.messages[0].smtputf8
    assert "\r\n for <é@xn--bcher-kva.example>;".encode() in house.octets()


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"\r\n.\r\n", "550 5.6.0 Message has no From"),
        (b".\r\n", "550 5.6.0 Message has no From"),
        (b"Subject: x\r\n\r\nFrom: a@own.example\r\n.\r\n", "550 5.6.0 Message has no From"),
        (HEADER + HEADER + b"\r\n.\r\n", "550 5.6.0 Message has more than one From"),
        (b"From: x@evil.example\r\n\r\n.\r\n", "550 5.7.1 "),
        (b'From: "a@own.example" <x@evil.example>\r\n\r\n.\r\n', "550 5.7.1 "),
        (b"From: a@own.example,\r\n x@evil.example\r\n\r\n.\r\n", "550 5.7.1 "),
        (b"From: a@own.example\r\nSender: x@evil.example\r\n\r\n.\r\n", "550 5.7.1 "),
        (b"From: a@own.example <x@evil.example>\r\n\r\n.\r\n", "550 5.6.0 Bad From"),
        (HEADER + b"X-MTA-Stream: spam\r\n\r\n.\r\n", "550 5.6.0 Bad X-MTA-Stream"),
        (b"Received: x\r\n" * 101 + HEADER + b"\r\n.\r\n", "554 5.4.6 "),
        (HEADER + b"\r\na\nb\r\n.\r\n", "550 5.6.0 Message contains a bare"),
        (HEADER + b"\r\na\rb\r\n.\r\n", "550 5.6.0 Message contains a bare"),
        (HEADER + b"\r\na\0b\r\n.\r\n", "550 5.6.0 Message contains a bare"),
        (HEADER + b"\r\n" + b"x" * 999 + b"\r\n.\r\n", "554 5.6.0 "),
        (HEADER + b"X: x\r\n" * 50_000 + b"\r\n.\r\n", "552 5.3.4 "),
        (HEADER + b"\r\n" + b"x\r\n" * 300_000 + b".\r\n", "552 5.3.4 "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_sent_is_refused_at_the_dot_and_the_session_goes_on(
    open_house: OpenHouse, content: bytes, reply: str
) -> None:
    async with open_house(max_message_size=800_000) as house, await house.logged_in() as talk:
        assert (await talk.submit(content)).startswith(reply)
        assert (house.messages, house.watcher.events) == ([], [])
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith("250 2.0.0")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n.\n", id="CVE-2023-51764"),
        pytest.param(b"\r\n.\n", id="CVE-2023-51766"),
        pytest.param(b"\r.\r", id="CVE-2024-27305"),
        pytest.param(b"\n.\r\n", id="LF.CRLF"),
    ],
)
async def test_no_second_message_is_smuggled_in(house: House, end: bytes) -> None:
    smuggled = b"MAIL FROM:<a@own.example>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n" + HEADER + b"\r\nevil"
    async with await house.logged_in() as talk:
        reply = await talk.submit(HEADER + b"\r\nbody" + end + smuggled + b"\r\n.\r\n")
        assert reply.startswith("550 5.6.0")
        assert (await talk.ask("NOOP")).startswith("250")
    assert house.messages == []


async def test_a_long_line_is_carried_as_it_is_where_the_operator_says_so(open_house: OpenHouse) -> None:
    body = b"x" * 100_000 + b"\r\n"
    async with open_house(take_long_lines=True) as house, await house.logged_in() as talk:
        assert (await talk.submit(HEADER + b"\r\n" + body + b".\r\n")).startswith("250")
        assert house.octets().endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("login", "field", "answer"),
    [
        ("shop", "", Stream.TRANSACTIONAL),
        ("shop", "bulk", Stream.BULK),
        ("shop/bulk", "", Stream.BULK),
        ("shop/bulk", "bulk", Stream.BULK),
        ("shop/bulk", "transactional", "550 5.6.0 Bad X-MTA-Stream field: the login fixes the stream bulk"),
    ],
)
async def test_the_stream_is_the_fields_unless_the_login_fixed_another(
    house: House, login: str, field: str, answer: Stream | str
) -> None:
    credential = house.one_use.issue(*login.split("/"))
    control = f"X-MTA-Stream: {field}\r\n".encode() if field else b""
    async with await house.talk() as talk:
        await talk.ask("EHLO x")
        await talk.ask("AUTH LOGIN")
        for text in (credential.login, credential.secret):
            reply = await talk.ask(base64.b64encode(text.encode()).decode())
        assert reply.startswith("235")
        reply = await talk.submit(control + HEADER + b"\r\n.\r\n")
    if isinstance(answer, Stream):
        assert [message.stream for message in house.messages] == [answer]
    else:
        assert reply == answer


@pytest.mark.parametrize(
    ("failure", "reply"),
    [(StoreFull("disk"), "452 4.3.1 "), (StoreUnavailable("locked"), "451 4.3.0 ")],
)
async def test_what_is_not_on_disk_hears_no_250(house: House, failure: StoreUnavailable, reply: str) -> None:
    async with await house.logged_in() as talk:
        house.store.failure = failure
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith(reply)
        assert (house.watcher.events, house.hands.wakes) == ([], 0)
        house.store.failure = None
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith("250")


@pytest.mark.parametrize(("room", "handed", "wakes"), [(0, 0, 1), (1, 1, 1), (2, 2, 0), (9, 2, 0)])
async def test_as_much_is_handed_over_at_once_as_there_is_room_for(
    house: House, room: int, handed: int, wakes: int
) -> None:
    house.hands.room = room
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\nbody\r\n.\r\n", "b@example.net", "c@example.net")
    assert (len(house.hands.taken), house.hands.wakes) == (handed, wakes)
    assert all(one.delivery.state is State.ACTIVE and one.content for one in house.hands.taken)


async def test_mail_that_a_route_holds_is_held_from_the_start_with_its_reason_and_never_leased(house: House) -> None:
    house.hands.room = 9
    house.hands.kept["example.net", "shop"] = "route example.net: hold = true"
    house.hands.kept["example.org", "other"] = "another account's"
    async with await house.logged_in() as talk:
        assert (await talk.submit(HEADER + b"\r\n.\r\n", "b@example.net", "c@example.org")).startswith("250")
    kept, free = (row.delivery for row in house.store.memory.rows.values())
    assert (kept.state, kept.hold_reason) == (State.HELD, "route example.net: hold = true")
    assert [one.delivery.id for one in house.hands.taken] == [free.id]
    assert house.hands.wakes == 0
    accepted, held = house.watcher.events
    assert (accepted.type, accepted.detail["recipients"]) == ("accepted", 2)
    assert (held.type, held.delivery_id, held.recipient) == ("held", kept.id, "b@example.net")
    assert held.detail["reason"] == "route example.net: hold = true"


class SlowStore:
    """A store whose commit waits until a test lets it."""

    def __init__(self, house: House, callers: int = 1) -> None:
        """`asked` is set when so many wait."""
        self.gate, self.asked, self._callers = asyncio.Event(), asyncio.Event(), callers
        self.leases: list[int] = []
        self._accept = house.store.accept
        house.store.accept = self.accept  # type: ignore[method-assign]  # this one instance is slow

    async def accept(self, new: NewMessage, events: Sequence[Event], lease: int = 0) -> Accepted:
        self.leases.append(lease)
        if len(self.leases) == self._callers:
            self.asked.set()
        await self.gate.wait()
        return await self._accept(new, events, lease)


async def test_a_message_survives_a_client_that_leaves_right_after_the_dot(house: House) -> None:
    slow = SlowStore(house)
    house.hands.room = 1
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER + b"\r\nbody\r\n.\r\n")
        async with asyncio.timeout(30):
            await slow.asked.wait()
        talk.writer.transport.abort()
    slow.gate.set()
    await house.server.stop()
    assert house.octets().endswith(b"\r\n\r\nbody\r\n")
    assert (len(house.watcher.events), len(house.hands.taken)) == (1, 1)


async def test_a_commit_is_awaited_past_the_grace_of_a_stop_and_the_client_hears_of_it(open_house: OpenHouse) -> None:
    async with open_house(stop_grace=timedelta(milliseconds=50)) as house:
        slow = SlowStore(house)
        async with await house.logged_in() as talk:
            for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
                await talk.ask(command)
            await talk.send(HEADER + b"\r\n.\r\n")
            async with asyncio.timeout(30):
                await slow.asked.wait()
                stopping = asyncio.ensure_future(house.server.stop())
                await asyncio.sleep(0.2)
                assert not stopping.done()
                slow.gate.set()
                assert re.fullmatch(rb"250 2.0.0 [^\r]*\r\n421 4.3.2 [^\r]*\r\n", await talk.rest())
                await stopping
    assert (len(house.messages), len(house.watcher.events)) == (1, 1)


async def test_a_client_that_leaves_before_the_dot_leaves_nothing(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER + b"\r\nbody\r\n.\r")
        talk.writer.write_eof()
        assert await talk.rest() == b""
    assert (house.messages, house.watcher.events) == ([], [])


async def test_two_messages_at_once_do_not_take_the_same_place(house: House) -> None:
    slow = SlowStore(house, callers=2)
    house.hands.room = 1
    async with await house.logged_in() as one, await house.logged_in() as two:
        submissions = [asyncio.ensure_future(talk.submit(HEADER + b"\r\n.\r\n")) for talk in (one, two)]
        async with asyncio.timeout(30):
            await slow.asked.wait()
        slow.gate.set()
        await asyncio.gather(*submissions)
    assert sorted(slow.leases) == [0, 1]


async def test_neither_address_nor_login_of_the_client_is_shown(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n")
        assert b"127.0.0.1" not in house.octets()
        assert b"shop" not in house.octets()


async def test_the_clients_address_is_shown_where_the_operator_says_so(house: House) -> None:
    house.acceptor.replace(AcceptorSettings(HOSTNAME, lambda domain: domain, show_client_address=True))
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n")
    assert house.octets().startswith(b"Received: from client.example.net ([127.0.0.1])\r\n")


async def test_an_account_that_is_gone_at_the_dot_is_still_the_one_that_mail_allowed(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        house.authenticator.replace(Directory([]))
        assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
        assert house.messages[0].account == SHOP.name
        assert PLAIN not in house.octets().decode()
