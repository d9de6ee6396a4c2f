"""The second half of the demonstration: what comes back changes what happens next."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.policy import SMTP

from mta.cli.init import ACCOUNT
from mta.demo.receiver import Received
from mta.demo.stage import GONE, SENDER, Story, World, bring_back, check_state, reply_of, submit
from mta.mail.header import split

READERS = tuple(f"reader{number}@inbox.example" for number in range(20))
DELIVERED = 3 + len(READERS) + 1 + len(GONE)
"""Deliveries of these chapters that a host takes: to mallory, carol, the readers, alice, and our notifications."""
BOUNCED = len(GONE)
"""Those that bounce at once."""


async def _suppressed(story: Story, world: World) -> None:
    story.chapter("5. The mailbox that does not exist is not written to again")
    reply = await asyncio.to_thread(reply_of, lambda: submit(world, "nobody@strict.example", "Hello again?"))
    story.check(reply.startswith("550 5.7.1") and "it bounced on 20" in reply, f"refused at RCPT: {reply}")


async def _bounced_late(story: Story, world: World) -> None:
    story.chapter("6. A host accepts, and reports hours later that nobody lives there")
    before = len(world.inbox.messages)
    queue_id = await asyncio.to_thread(submit, world, "mallory@inbox.example", "Your parcel")
    received = (await world.inbox.wait_for(before + 1, world.patience))[-1]
    await check_state(story, world, queue_id, "delivered")
    return_path = received.reverse_path.strip("<>")
    forged = return_path[:5] + ("y" if return_path[5] == "x" else "x") + return_path[6:]
    report = _bounce(received, "mallory@inbox.example")
    reply = await asyncio.to_thread(bring_back, world, forged, report)
    story.check(reply.startswith("550"), f"a forged return path: {reply}")
    reply = await asyncio.to_thread(bring_back, world, return_path, report)
    story.check(reply.startswith("250"), f"the real one: {reply}")
    await check_state(story, world, queue_id, "bounced")
    notifications = await world.office.wait_for(2, world.patience)
    story.check(notifications[-1].recipients == (SENDER,), f"{SENDER} is told, though the mail had been accepted")
    reply = await asyncio.to_thread(reply_of, lambda: submit(world, "mallory@inbox.example", "Your parcel"))
    story.check("5.7.1" in reply and "it bounced" in reply, f"the next one: {reply}")


async def _complained(story: Story, world: World) -> None:
    story.chapter("7. A recipient calls a message spam")
    before = len(world.inbox.messages)
    await asyncio.to_thread(submit, world, "carol@inbox.example", "You may also like")
    received = (await world.inbox.wait_for(before + 1, world.patience))[-1]
    report = _complaint(received, "carol@inbox.example")
    reply = await asyncio.to_thread(bring_back, world, "fbl@bounces.example.com", report)
    story.check(reply.startswith("250"), f"her provider sends a feedback report (RFC 5965) to our address: {reply}")
    code, output = await world.server.command("suppression", "check", "carol@inbox.example", "--json")
    entry = json.loads(output.splitlines()[0]) if code == 0 else {}
    story.check(entry.get("cause") == "complaint", "she is suppressed, for all mail of the account and for good")
    reply = await asyncio.to_thread(reply_of, lambda: submit(world, "carol@inbox.example", "You may also like"))
    story.check("5.7.1" in reply and "complained" in reply, f"the next one: {reply}")


async def _suspended(story: Story, world: World) -> None:
    story.chapter("8. A newsletter to a bad list: too many hard bounces")
    before = len(world.inbox.messages)
    bulk = f"{ACCOUNT}/bulk"
    await asyncio.to_thread(submit, world, [*READERS, *GONE], "The latest news", login=bulk)
    await world.inbox.wait_for(before + len(READERS), world.patience)
    story.note(f"{len(READERS)} arrived, {len(GONE)} of {len(READERS) + len(GONE)} do not exist")
    reply = await _until_refused(world, bulk)
    story.check("5.7.1" in reply and "suspended" in reply, f"MAIL of its bulk stream: {reply}")
    # the ratio is that of the moment in which it was judged: the last few may still have been under way
    ratios = re.findall(r"[0-9]+\.[0-9]%", reply)
    story.check(len(ratios) >= 2 and "10.0%" in ratios, "ratio and limit are named")
    reply = await asyncio.to_thread(reply_of, lambda: submit(world, "alice@inbox.example", "Your invoice"))
    story.check(reply.startswith("250"), "its password resets and invoices still go out")
    story.note(f"$ mta reputation {ACCOUNT}")
    _, output = await world.server.command("reputation", ACCOUNT)
    story.quote("\n".join(line.rstrip() for line in output.splitlines()))


async def _until_refused(world: World, login: str) -> str:
    """Submit until the suspension is in force; return the last reply."""
    reply = ""
    for _ in range(int(world.patience / 0.1)):
        reply = await asyncio.to_thread(reply_of, lambda: submit(world, "nobody@strict.example", "More", login=login))
        if "suspended" in reply:
            break
        await asyncio.sleep(0.1)
    return reply


CHAPTERS: tuple[Callable[[Story, World], Awaitable[None]], ...] = (_suppressed, _bounced_late, _complained, _suspended)


def _bounce(received: Received, recipient: str) -> bytes:
    """Return a host's notification about a message that it had accepted (RFC 3464)."""
    header, _ = split(received.content)
    status = (
        "Reporting-MTA: dns; mx.inbox.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown in local recipient table\r\n"
    )
    text = "I'm sorry to have to inform you that your message could not be delivered.\r\n"
    parts = (
        ("text/plain", text.encode()),
        ("message/delivery-status", status.encode()),
        ("text/rfc822-headers", header),
    )
    return _report("MAILER-DAEMON@mx.inbox.example", "Undelivered Mail Returned to Sender", "delivery-status", parts)


def _complaint(received: Received, recipient: str) -> bytes:
    """Return a provider's feedback report about a message (RFC 5965), the recipient blacked out as usual."""
    header, _ = split(received.content)
    about = "Feedback-Type: abuse\r\nUser-Agent: inbox-feedback/1.0\r\nVersion: 1\r\nReported-Domain: example.com\r\n"
    parts = (
        ("text/plain", b"This is an email abuse report.\r\n"),
        ("message/feedback-report", about.encode()),
        ("message/rfc822", header.replace(recipient.encode(), b"redacted@inbox.example") + b"\r\n(redacted)\r\n"),
    )
    return _report("abuse@inbox.example", "Abuse report", "feedback-report", parts)


def _report(sender: str, subject: str, kind: str, parts: tuple[tuple[str, bytes], ...]) -> bytes:
    frame = EmailMessage(policy=SMTP)
    frame["From"], frame["To"], frame["Subject"] = sender, "return@example.com", subject
    header = frame.as_bytes().rstrip(b"\r\n")
    boundary = b"=_report"
    header += b'\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=%s; boundary="%s"\r\n' % (
        kind.encode(),
        boundary,
    )
    body = b"".join(
        b"\r\n--%s\r\nContent-Type: %s\r\n\r\n%s" % (boundary, name.encode(), octets) for name, octets in parts
    )
    return header + body + b"\r\n--%s--\r\n" % boundary
