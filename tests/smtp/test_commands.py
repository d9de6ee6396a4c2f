"""BDAT over a raw socket (RFC 3030): its octets are counted, and never taken for commands. The other verbs are told
with the doors."""

import ssl
from datetime import timedelta

import pytest

from tests.smtp.door import open_door

TAKEN = "250 2.0.0 Ok: {} octets received"
QUEUED = "250 2.0.0 Ok: queued as q1"
NEED_MAIL = "503 5.5.1 Error: need MAIL command"
NEED_RCPT = "503 5.5.1 Error: need RCPT command"
FAILED = "503 5.5.1 Error: an earlier chunk was refused; send RSET or MAIL"
IN_CHUNKS = "503 5.5.1 Error: chunks of a message have been received; send BDAT or RSET"
BARE = "550 5.6.0 Message contains a bare CR or LF, or a NUL"
OK, SENDER_OK, RECIPIENT_OK = "250 2.0.0 Ok", "250 2.1.0 Ok", "250 2.1.5 Ok"
MAIL, RCPT = b"MAIL FROM:<a@own.example>\r\n", b"RCPT TO:<b@example.net>\r\n"
# would be seen in the replies, were they obeyed
COMMANDS = b"VRFY x\r\nNOOP\r\n"


def chunk(octets: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets


DIALOGUES: dict[str, tuple[bytes, list[str], list[bytes]]] = {
    "one chunk": (chunk(b"a\r\n", last=True), [QUEUED], [b"a\r\n"]),
    "three chunks": (
        chunk(b"a\r") + chunk(b"\nb") + chunk(b"\r\n", last=True),
        [TAKEN.format(2), TAKEN.format(2), QUEUED],
        [b"a\r\nb\r\n"],
    ),
    "an empty last one": (chunk(b"a\r\n") + b"BDAT 0 LAST\r\n", [TAKEN.format(3), QUEUED], [b"a\r\n"]),
    "commands and a final dot are content": (
        chunk(COMMANDS + b".\r\nQUIT\r\n", last=True),
        [QUEUED],
        [COMMANDS + b".\r\nQUIT\r\n"],
    ),
    "no dot is taken away": (chunk(b"..a\r\n.b\r\n", last=True), [QUEUED], [b"..a\r\n.b\r\n"]),
    "lower case": (b"bdat 3 last\r\na\r\n", [QUEUED], [b"a\r\n"]),
    "a last line without an end": (chunk(b"a", last=True), [QUEUED], [b"a\r\n"]),
    "8-bit": (chunk("é\r\n".encode(), last=True), [QUEUED], ["é\r\n".encode()]),
    "last twice": (chunk(b"a\r\n", last=True) + chunk(COMMANDS, last=True), [QUEUED, NEED_MAIL], [b"a\r\n"]),
    "rset in between": (
        chunk(b"a\r\n") + b"RSET\r\n" + chunk(COMMANDS, last=True),
        [TAKEN.format(3), OK, NEED_MAIL],
        [],
    ),
    "rset forgets what came": (
        chunk(b"a\r\n") + b"RSET\r\n" + MAIL + RCPT + chunk(b"b\r\n", last=True),
        [TAKEN.format(3), OK, SENDER_OK, RECIPIENT_OK, QUEUED],
        [b"b\r\n"],
    ),
    "ehlo forgets it too": (
        chunk(b"a\r\n") + b"HELO x\r\n" + MAIL + RCPT + chunk(b"b\r\n", last=True),
        [TAKEN.format(3), "250 mail.own.example", SENDER_OK, RECIPIENT_OK, QUEUED],
        [b"b\r\n"],
    ),
    "noop in between": (
        chunk(b"a\r\n") + b"NOOP\r\n" + chunk(b"b\r\n", last=True),
        [TAKEN.format(3), OK, QUEUED],
        [b"a\r\nb\r\n"],
    ),
    "mail in between": (
        chunk(b"a\r\n") + MAIL + chunk(b"", last=True),
        [TAKEN.format(3), "503 5.5.1 Error: nested MAIL command", QUEUED],
        [b"a\r\n"],
    ),
    "rcpt in between": (chunk(b"a\r\n") + RCPT, [TAKEN.format(3), IN_CHUNKS], []),
    "data in between": (
        chunk(b"a\r\n") + b"DATA\r\n" + chunk(b"", last=True),
        [TAKEN.format(3), IN_CHUNKS, QUEUED],
        [b"a\r\n"],
    ),
    "a refused chunk fails those behind it": (
        chunk(b"a\nb") + chunk(COMMANDS) + chunk(COMMANDS, last=True) + b"NOOP\r\n",
        [BARE, FAILED, FAILED, OK],
        [],
    ),
    "until rset": (
        chunk(b"a\nb") + b"RSET\r\n" + MAIL + RCPT + chunk(b"b\r\n", last=True),
        [BARE, OK, SENDER_OK, RECIPIENT_OK, QUEUED],
        [b"b\r\n"],
    ),
    "or mail": (
        chunk(b"a\nb") + MAIL + RCPT + chunk(b"b\r\n", last=True),
        [BARE, SENDER_OK, RECIPIENT_OK, QUEUED],
        [b"b\r\n"],
    ),
    "a bare line feed in the last one": (
        chunk(b"a\r\n") + chunk(b"\n" + COMMANDS, last=True) + b"NOOP\r\n",
        [TAKEN.format(3), BARE, OK],
        [],
    ),
    "a carriage return at the very end": (chunk(b"a\r", last=True), [BARE], []),
    "too large": (
        chunk(b"x\r\n" * 400, last=True) + b"NOOP\r\n",
        ["552 5.3.4 Message size exceeds fixed limit", OK],
        [],
    ),
    "too large together": (
        chunk(b"x\r\n" * 300) + chunk(b"x\r\n" * 300) + chunk(COMMANDS, last=True),
        [TAKEN.format(900), "552 5.3.4 Message size exceeds fixed limit", FAILED],
        [],
    ),
}


@pytest.mark.parametrize("octet_by_octet", [False, True])
@pytest.mark.parametrize("name", DIALOGUES)
async def test_a_dialogue_in_chunks(server_context: ssl.SSLContext, name: str, octet_by_octet: bool) -> None:
    said, replies, contents = DIALOGUES[name]
    async with open_door(server_context, max_message_size=1000) as opened, await opened.transaction() as talk:
        if octet_by_octet:
            for octet in said:
                await talk.send(bytes([octet]))
        else:
            await talk.send(said)
        assert [await talk.hear() for _ in replies] == replies
        assert await talk.ask("QUIT") == "221 2.0.0 Bye"
        assert opened.shelf.contents == contents
        assert opened.budget.held == 0


@pytest.mark.parametrize(
    ("before", "reply"),
    [
        (b"RSET\r\n", NEED_MAIL),
        (b"RSET\r\n" + MAIL, NEED_RCPT),
        (b"RSET\r\n" + MAIL + b"RCPT no\r\n", NEED_RCPT),
    ],
)
async def test_chunks_that_nobody_asked_for_are_read_and_refused(
    server_context: ssl.SSLContext, before: bytes, reply: str
) -> None:
    async with open_door(server_context) as opened, await opened.transaction() as talk:
        await talk.send(before + chunk(COMMANDS) + chunk(COMMANDS, last=True) + b"NOOP\r\n")
        replies = [await talk.hear() for _ in range(before.count(b"\n") + 3)]
        assert replies[-3:] == [reply, reply, OK]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"BDAT\r\n", "501 5.5.4"),
        (b"BDAT x\r\n", "501 5.5.4"),
        (b"BDAT 5 FIRST\r\n", "501 5.5.4"),
        (b"BDAT 5\n", "500 5.5.2"),
        (b"bdat\t5\r\n", "500 5.5.2"),
        (b"BDAT 5\0\r\n", "500 5.5.2"),
        (b"BDAT 5" + b" " * 510 + b"\r\n", "500 5.5.2"),
    ],
)
async def test_after_a_count_that_cannot_be_read_nothing_more_is(
    server_context: ssl.SSLContext, line: bytes, reply: str
) -> None:
    async with open_door(server_context) as opened, await opened.transaction() as talk:
        await talk.send(line + COMMANDS)
        assert (await talk.hear())[:9] == reply
        assert await talk.hear() == "421 4.7.0 Error: cannot tell commands from content any more, closing connection"
        assert await talk.hear() == ""


async def test_a_client_that_pipelines_is_not_punished_for_the_chunks_behind_a_refused_one(
    server_context: ssl.SSLContext,
) -> None:
    async with open_door(server_context, max_errors=3) as opened, await opened.transaction() as talk:
        await talk.send(chunk(b"a\nb") + chunk(COMMANDS) * 50 + b"NOOP\r\n")
        replies = [await talk.hear() for _ in range(52)]
        assert replies == [BARE, *[FAILED] * 50, OK]


async def test_chunks_of_nothing_are_commands_without_mail(server_context: ssl.SSLContext) -> None:
    # EHLO and MAIL are the first two of them
    async with open_door(server_context, max_commands_without_mail=3) as opened, await opened.transaction() as talk:
        await talk.send(b"BDAT 0\r\n" * 10)
        assert [(await talk.hear())[:9] for _ in range(3)] == ["250 2.0.0", "250 2.0.0", "421 4.7.0"]


async def test_replies_leave_before_a_chunk_is_waited_for(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context) as opened, await opened.talk() as talk:
        await talk.send(MAIL + RCPT + b"BDAT 3 LAST\r\n")
        assert [await talk.hear(), await talk.hear()] == [SENDER_OK, RECIPIENT_OK]
        await talk.send(b"a\r\n")
        assert await talk.hear() == QUEUED


@pytest.mark.parametrize("begin", [b"DATA\r\n", b"BDAT 100 LAST\r\n", b"BDAT 100\r\n", b"BDAT 2\r\na\r\nBDAT 50\r\n"])
async def test_a_client_that_leaves_in_its_content_leaves_nothing(server_context: ssl.SSLContext, begin: bytes) -> None:
    async with open_door(server_context, idle_timeout=timedelta(seconds=60)) as opened:
        async with await opened.transaction() as talk:
            await talk.send(begin + b"some")
        await opened.until(clients=0)
        assert (opened.shelf.contents, opened.budget.held) == ([], 0)


async def test_what_stands_behind_the_chunks_octets_is_a_command(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context) as opened, await opened.transaction() as talk:
        body = b"x" * 70 + b"\r\n"
        await talk.send(b"".join(chunk(body) for _ in range(2000)) + b"BDAT 0 LAST\r\nQUIT\r\n")
        replies = (await talk.rest()).decode().splitlines()
        assert replies == [TAKEN.format(72)] * 2000 + [QUEUED, "221 2.0.0 Bye"]
        assert opened.shelf.contents == [body * 2000]
