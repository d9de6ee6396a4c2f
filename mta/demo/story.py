"""The story that `mta demo` tells: a real server, real submissions, and a receiving world that behaves as it is told.

Everything is on loopback and on free ports. Every sentence that claims something is checked; the story ends well only
if all of it happened.
"""

import asyncio
import email
import email.policy
import smtplib
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from mta.control.protocol import CommandFailed
from mta.demo import way_back
from mta.demo.process import PATIENCE
from mta.demo.stage import (
    DOMAIN,
    SENDER,
    Story,
    World,
    check_signatures,
    check_state,
    get,
    receiving_world,
    reply_of,
    submit,
    told_of,
)
from mta.mail.header import split

EXPECTED_COUNTS = {
    'mta_deliveries_total{result="delivered"}': 3.0 + way_back.DELIVERED,
    'mta_deliveries_total{result="bounced"}': 1.0 + way_back.BOUNCED,
}
_LINES_SHOWN = 12


def _as_it_is(world: World) -> None:
    """Change nothing."""


async def tell(
    say: Callable[[str], None], meddle: Callable[[World], None] = _as_it_is, patience: float = PATIENCE
) -> list[str]:
    """Tell the whole story; return what did not happen.

    `meddle` may change the receiving world before anything is sent; `patience` is in seconds, for each wait.
    """
    story = Story(say)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mta-demo-")))
        world = await stack.enter_async_context(receiving_world(folder, patience))
        meddle(world)
        story.say("mta demo: a real server and a real mail client, and receiving hosts that behave as they are told.")
        story.say("All of it is on loopback, in a folder that is removed at the end.")
        async with world.server:
            try:
                for chapter in (
                    _delivered,
                    _greylisted,
                    _refused,
                    _rejected_at_the_door,
                    *way_back.CHAPTERS,
                    _explained,
                    _measured,
                ):
                    await chapter(story, world)
            except (OSError, smtplib.SMTPException, TimeoutError, LookupError, ValueError, CommandFailed) as trouble:
                story.check(False, f"the story broke off: {type(trouble).__name__}: {trouble}")
            if story.failures:
                story.say("\nthe end of the server's log:")
                story.say(await asyncio.to_thread(world.server.tail))
    return story.failures


async def _delivered(story: Story, world: World) -> None:
    story.chapter("1. An application sends an invoice, over STARTTLS and with its password")
    queue_id = await asyncio.to_thread(submit, world, "alice@inbox.example", "Your invoice")
    story.note(f"250 2.0.0 Ok: queued as {queue_id}   (on disk before this was said)")
    (received,) = await world.inbox.wait_for(1, world.patience)
    story.check(received.tls, f"mx.inbox.example received it, over {received.tls_version}")
    check_signatures(story, world, received)
    local_part, _, domain = received.reverse_path.strip("<>").partition("@")
    story.check(
        domain == f"bounces.{DOMAIN}" and len(local_part) < 40,
        "it left under a return path of its own, which no other delivery has:",
    )
    story.note(f"      {local_part}@{domain}")
    story.check(b"Bcc:" not in split(received.content)[0], "its Bcc field stayed behind")
    await check_state(story, world, queue_id, "delivered")


async def _greylisted(story: Story, world: World) -> None:
    story.chapter("2. A password reset, to a host that greylists: it defers whom it does not know yet")
    queue_id = world.deferred = await asyncio.to_thread(submit, world, "bob@grey.example", "Your password reset")
    (received,) = await world.grey.wait_for(1, world.patience)
    attempts = [command for command in world.grey.commands if command.upper().startswith("MAIL FROM:")]
    paths = {command.partition("<")[2].partition(">")[0] for command in attempts}
    story.check(len(attempts) == 2, f"mx.grey.example saw {len(attempts)} attempts, and accepted the last one")
    story.check(len(paths) == 1, "both came under the same return path, or the second would have been unknown again")
    check_signatures(story, world, received)
    await check_state(story, world, queue_id, "delivered")


async def _refused(story: Story, world: World) -> None:
    story.chapter("3. A mailbox that does not exist: refused for good, and the submitter is told")
    queue_id = await asyncio.to_thread(submit, world, "nobody@strict.example", "Hello?")
    (notification,) = await world.office.wait_for(1, world.patience)
    await check_state(story, world, queue_id, "bounced")
    story.check(
        notification.reverse_path.strip("<>") == "" and notification.recipients == (SENDER,),
        f"a notification came to {SENDER}, from <>, so that nobody answers it",
    )
    parsed = email.message_from_bytes(notification.content, policy=email.policy.default)
    story.check(
        parsed.get_content_type() == "multipart/report" and told_of(parsed) == ("failed", "5.1.1"),
        "programs can read it (RFC 3464): Action: failed, Status: 5.1.1",
    )
    check_signatures(story, world, notification)
    body = parsed.get_body(("plain",))
    text = body.get_content() if body else ""
    story.check("Why: " in text, "and so can people:")
    story.quote("\n".join(text.splitlines()[:_LINES_SHOWN]))


async def _rejected_at_the_door(story: Story, world: World) -> None:
    story.chapter("4. What is refused at the door")
    alice = "alice@inbox.example"
    for what, code, attempt in (
        ("a wrong password", 535, lambda: submit(world, alice, "x", password="wrong")),  # noqa: S106  wrong on purpose
        ("no password", 530, lambda: submit(world, alice, "x", password=None)),
        ("another's domain", 550, lambda: submit(world, alice, "x", sender="ceo@bank.example")),
    ):
        reply = await asyncio.to_thread(reply_of, attempt)
        story.check(reply.startswith(str(code)), f"{what:<17} {reply}")


async def _explained(story: Story, world: World) -> None:
    story.chapter("9. Why did the password reset take so long? One command tells")
    story.note(f"$ mta why {world.deferred}")
    code, output = await world.server.command("why", world.deferred)
    story.quote(output)
    story.check(
        code == 0 and "Greylisted" in output and "delivered" in output,
        "what the host said, and when it was tried again",
    )


async def _measured(story: Story, world: World) -> None:
    story.chapter("10. What Prometheus sees")
    host, port = world.server.address("http")
    story.note(f"$ curl http://{host}:{port}/metrics")
    counts = await _counts(world)
    story.quote("\n".join(f"{name} {count:g}" for name, count in counts.items() if count))
    story.check(counts == EXPECTED_COUNTS, "every delivery of this story was counted once, the notification too")
    status, _ = await get(host, port, "/readyz")
    story.check(status == 200, "/readyz: the store can be written and the listeners are up")


async def _counts(world: World) -> dict[str, float]:
    """Return what came of the deliveries, once nothing is missing any more or patience ends."""
    host, port = world.server.address("http")
    counts: dict[str, float] = {}
    for _ in range(int(world.patience / 0.1)):
        _, body = await get(host, port, "/metrics")
        lines = (line.rsplit(" ", 1) for line in body.splitlines() if line.startswith("mta_deliveries_total{"))
        counts = {name: float(count) for name, count in lines if float(count)}
        if sum(counts.values()) >= sum(EXPECTED_COUNTS.values()):
            break
        await asyncio.sleep(0.1)
    return counts
