"""The smuggling attacks of the record, by their numbers, through a raw socket at the submission listener.

A sender's content holds what some server takes for its end, and behind it a second message in the name of somebody
else. Here nothing but CRLF.CRLF ends a content, what holds anything like it is refused when its real end has come, and
the session stays in step: what was smuggled is never read as commands.
"""

import asyncio
import contextlib

import pytest

from mta.smtp.settings import Kind
from tests.submission.conftest import HEADER, PLAIN, House

BARE = "550 5.6.0 Message contains a bare CR or LF, or a NUL"
SMUGGLED = b"MAIL FROM:<a@own.example>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n" + HEADER + b"\r\nevil\r\n"
# end of a content, as one server or another reads it
FALSE_ENDS = [
    pytest.param(b"\n.\n", id="CVE-2023-51764 LF.LF"),
    pytest.param(b"\n.\r\n", id="CVE-2023-51764 LF.CRLF"),
    pytest.param(b"\r\n.\n", id="CVE-2023-51764 CRLF.LF"),
    pytest.param(b"\r.\r", id="CVE-2023-51764 CR.CR"),
    pytest.param(b"\r.\n", id="CVE-2023-51766 CR.LF"),
    pytest.param(b"\n.\r", id="CVE-2023-51766 LF.CR"),
    pytest.param(b"\r\n.\r", id="CVE-2023-51766 CRLF.CR"),
    pytest.param(b"\n\n.\r\n", id="CVE-2023-51766 LFLF.CRLF"),
    pytest.param(b"\r.\r\n", id="CVE-2024-27305 CR.CRLF"),
    pytest.param(b"\r\n.\r\r\n", id="CVE-2024-27305 CRLF.CRCRLF"),
    pytest.param(b"\r\r\n.\r\r\n", id="CVE-2024-27305 CRCRLF.CRCRLF"),
    pytest.param(b"\r\n\x00.\r\n", id="CVE-2024-27305 NUL before the dot"),
    pytest.param(b"\r\n.\x00\r\n", id="CVE-2024-27305 NUL behind the dot"),
]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
@pytest.mark.parametrize("octet_by_octet", [False, True])
async def test_a_false_end_of_data_ends_nothing(house: House, false_end: bytes, octet_by_octet: bool) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            assert (await talk.ask(command))[:3] in ("250", "354")
        content = HEADER + b"\r\nharmless" + false_end + SMUGGLED + b".\r\n"
        for octets in [bytes([octet]) for octet in content] if octet_by_octet else [content]:
            await talk.send(octets)
        assert await talk.hear() == BARE
        # in step: one reply for all of it, and the next command is the next one that we say
        assert (await talk.ask("VRFY x")).startswith("252")
        assert house.messages == []


@pytest.mark.parametrize("false_end", FALSE_ENDS)
async def test_a_false_end_in_chunks_ends_nothing(house: House, false_end: bytes) -> None:
    content = HEADER + b"\r\nharmless" + false_end + SMUGGLED
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>"):
            assert (await talk.ask(command)).startswith("250")
        await talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
        assert await talk.hear() == BARE
        assert (await talk.ask("VRFY x")).startswith("252")
        assert house.messages == []


async def test_a_real_end_in_a_chunk_is_content(house: House) -> None:
    content = HEADER + b"\r\nharmless\r\n.\r\n" + SMUGGLED
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>"):
            assert (await talk.ask(command)).startswith("250")
        await talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
        assert (await talk.hear()).startswith("250 2.0.0 Ok: queued as")
        assert (await talk.ask("VRFY x")).startswith("252")
    assert len(house.messages) == 1
    assert house.octets().endswith(b"\r\nharmless\r\n.\r\n" + SMUGGLED)


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n"])
async def test_a_command_ends_in_crlf_or_is_none(house: House, line_end: bytes) -> None:
    """CVE-2024-27305: what another server takes for one line must not be two of them here."""
    async with await house.logged_in() as talk:
        await talk.send(b"MAIL FROM:<a@own.example>" + line_end + b"RCPT TO:<b@example.net>\r\nNOOP\r\n")
        replies = []
        while (reply := await talk.hear()) != "250 2.0.0 Ok":
            replies.append(reply[:3])
        assert "250" not in replies


@pytest.mark.parametrize("behind", [b"EHLO evil\r\n", b"NOOP\r\n" * 1000, f"AUTH PLAIN {PLAIN}\r\n".encode()])
@pytest.mark.parametrize("apart", [False, True])
async def test_nothing_sent_in_clear_survives_starttls(house: House, behind: bytes, apart: bool) -> None:
    """CVE-2024-34083, CVE-2011-0411."""
    async with await house.talk(Kind.STARTTLS) as talk:
        await talk.ask("EHLO client.example.net")
        if apart:
            # behind the reply, where TLS should begin: no TLS, so no session
            assert (await talk.ask("STARTTLS")).startswith("220")
            await talk.send(behind)
            left = b""
            with contextlib.suppress(ConnectionResetError):  # a reset says the same
                left = await talk.rest()
            assert not left or left[0] == 0x15
        else:
            await talk.send(b"STARTTLS\r\n" + behind)
            assert await talk.rest() == b"554 5.5.1 Error: commands pipelined after STARTTLS\r\n"
    async with asyncio.timeout(30):
        await house.emptied()
