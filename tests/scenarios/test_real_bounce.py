"""A real Postfix takes a message, cannot deliver it, and returns its own DSN to our return path."""

import email
import email.policy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.house import House, open_house
from tests.scenarios.postfix import HOST, open_postfix
from tests.scenarios.programs import free_port, need_root
from tests.scenarios.reports import DOMAIN

ROUTE = """
[[route]]
domain = "example.net"
relay = "smtp://{host}:{port}"
"""
LATE = "late@example.net"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A server that hands mail for example.net to Postfix, which sends late@'s on to the sink and bounces to us."""
    need_root("Postfix's master changes users")
    port = free_port()
    async with open_house(tmp_path / "house", more=ROUTE.format(host=HOST, port=port)) as built:
        built.names.add(HOST, "A", "127.0.0.1")
        onward = {LATE: ("127.0.0.1", built.sink.port), DOMAIN: built.server.address("inbound")}
        async with open_postfix(port, onward):
            yield built


@pytest.mark.peer("postfix")
async def test_a_real_dsn_bounces_the_delivery_and_suppresses_the_address(house: House) -> None:
    house.sink.answer("RCPT", LATE, "550 5.1.1 No such mailbox here")
    queue_id = await house.submit(LATE)
    await house.wait_for_states(queue_id, "bounced")

    (row,) = await house.why(LATE)
    assert [event["type"] for event in row["events"]] == ["accepted", "delivered", "bounced", "suppression_added"]
    delivered, bounced = row["events"][1:3]
    assert "queued as " in delivered["reply"]["text"]
    assert (bounced["detail"]["late"], bounced["class"], bounced["hardness"]) == ("report", "bad_mailbox", "hard")
    assert "No such mailbox here" in bounced["reply"]["text"]

    (entry,) = await house.ask("suppression", "check", LATE)
    assert (entry["cause"], entry["origin"], entry["account"]) == ("hard_bounce", "report", "app")
    refusal = await house.refused(LATE)
    assert refusal.startswith(f"550 5.7.1 Recipient suppressed: it bounced on {entry['since'][:10]} (550 5.1.1 ")

    code, told = await house.server.command("why", LATE)
    assert code == 0
    story = ("accepted from account app", "queued as ", "bounced, late", "suppress")
    places = [told.find(part) for part in story]
    assert places == sorted(places), told
    assert -1 not in places, told


@pytest.mark.peer("postfix")
async def test_the_submitter_gets_our_own_dsn_for_a_real_late_bounce(house: House) -> None:
    house.sink.answer("RCPT", LATE, "550 5.1.1 No such mailbox here")
    await house.wait_for_states(await house.submit(LATE), "bounced")
    (dsn,) = await house.sink.wait_for(1)
    assert (dsn.reverse_path, dsn.recipients) == ("", ("app@example.com",))
    report = email.message_from_bytes(dsn.content, policy=email.policy.default)
    about, recipient = (block for block in report.walk() if "Reporting-MTA" in block or "Action" in block)
    assert about["Reporting-MTA"] == "dns; mail.example.com"
    assert recipient["Final-Recipient"] == f"rfc822;{LATE}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert "No such mailbox here" in recipient["Diagnostic-Code"]
    assert b"Subject: A test" in dsn.content


@pytest.mark.peer("postfix")
async def test_a_real_dsn_about_a_full_mailbox_suppresses_nobody(house: House) -> None:
    house.sink.answer("DOT", LATE, "552 5.2.2 Mailbox is full")
    await house.wait_for_states(await house.submit(LATE), "bounced")
    assert await house.suppressed() == []
    house.sink.answer("DOT", LATE, "250 2.0.0 Ok")
    await house.submit(LATE)
