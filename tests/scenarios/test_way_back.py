"""What comes back changes what happens next: bounces and complaints over SMTP, through the real daemon."""

import asyncio

from tests.scenarios.house import House
from tests.scenarios.reports import FEEDBACK, FULL, LATE, bounce, complaint, return_path

A, B = "a@example.net", "b@example.net"


async def delivered(house: House, recipient: str = A) -> tuple[str, str, bytes]:
    """Have a message delivered; return its queue id, its return path and its octets."""
    before = len(house.sink.messages)
    queue_id = await house.submit(recipient)
    received = (await house.sink.wait_for(before + 1))[-1]
    await house.wait_for_states(queue_id, "delivered")
    return queue_id, return_path(received), received.content


async def test_a_hard_bounce_at_delivery_suppresses_at_once(house: House) -> None:
    house.sink.answer("RCPT", A, "550 5.1.1 No such mailbox")
    await house.wait_for_states(await house.submit(A, B), "bounced", "delivered")
    refusal = await house.refused(A)
    assert refusal.startswith("550 5.7.1 Recipient suppressed: it bounced on 20")
    assert "550 5.1.1 No such mailbox" in refusal
    assert await house.suppressed() == [A]
    await house.submit(B)


async def test_a_refusal_that_speaks_of_us_suppresses_nobody(house: House) -> None:
    house.sink.answer("RCPT", A, "550 5.7.1 Your address is on a block list, see https://block.example/")
    await house.wait_for_states(await house.submit(A), "bounced")
    assert await house.suppressed() == []
    await house.submit(A)


async def test_a_domain_that_is_gone_bounces_but_does_not_suppress_the_first_time(house: House) -> None:
    await house.wait_for_states(await house.submit("a@gone.example"), "bounced")
    assert await house.suppressed() == []
    await house.wait_for_states(await house.submit("a@gone.example"), "bounced")
    assert await house.suppressed() == []


async def test_a_domain_that_says_it_takes_no_mail_suppresses_at_once(house: House) -> None:
    house.names.add("null.example", "MX", "0 .")
    await house.wait_for_states(await house.submit("a@null.example"), "bounced")
    assert await house.suppressed() == ["a@null.example"]


async def test_the_same_report_told_again_and_at_once_counts_once(house: House) -> None:
    queue_id, path, _ = await delivered(house)
    report = bounce(house.sink.messages[0], A)
    replies = list(await asyncio.gather(*(house.bring(path, report) for _ in range(4))))
    replies.append(await house.bring(path.upper(), report))
    assert [reply[:3] for reply in replies] == ["250"] * 5
    assert await house.states(queue_id) == ["bounced"]
    types = await house.happened()
    assert (types.count("bounced"), types.count("suppression_added")) == (1, 1)
    assert [(row["part"], row["whole"]) for row in await _rates(house, "bounce_rate")] == [(1, 1), (1, 1)]
    accepted = await house.ask("events", "--type", "accepted")
    assert [event["detail"].get("dsn_for") for event in accepted] == [None, queue_id], "one notification"


async def test_a_report_while_its_delivery_is_still_being_written_down_is_not_lost(house: House) -> None:
    recipients = [f"r{number}@example.net" for number in range(30)]
    queue_id = await house.submit(*recipients)
    for number in range(30):
        received = (await house.sink.wait_for(number + 1))[number]
        (recipient,) = received.recipients
        assert (await house.bring(return_path(received), bounce(received, recipient))).startswith("250")
    assert sorted(await house.suppressed()) == sorted(recipients)
    assert set(await house.states(queue_id)) == {"bounced"}


async def test_a_report_acts_on_whom_its_token_names_whatever_it_says(house: House) -> None:
    await delivered(house, B)
    queue_id, path, _ = await delivered(house, A)
    await house.bring(path, bounce(house.sink.messages[0], B))
    assert await house.states(queue_id) == ["bounced"]
    assert await house.suppressed() == [A]


async def test_a_full_mailbox_reported_late_bounces_and_suppresses_nobody(house: House) -> None:
    queue_id, path, _ = await delivered(house)
    await house.bring(path, bounce(house.sink.messages[0], A, FULL))
    assert await house.states(queue_id) == ["bounced"]
    assert await house.suppressed() == []
    (dsn,) = (await house.sink.wait_for(2))[1:]
    assert (dsn.recipients, b"5.2.2" in dsn.content) == (("app@example.com",), True)


async def test_a_delay_and_a_vacation_change_nothing(house: House) -> None:
    queue_id, path, _ = await delivered(house)
    vacation = b"From: a@example.net\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
    for content in (bounce(house.sink.messages[0], A, LATE), vacation):
        assert (await house.bring(path, content, "a@example.net")).startswith("250")
    assert await house.states(queue_id) == ["delivered"]
    assert await house.suppressed() == []
    assert (await house.happened())[-1] == "delivered"


async def test_a_complaint_suppresses_and_counts_once_however_often_it_is_told(house: House) -> None:
    queue_id, _, content = await delivered(house)
    report = complaint(content)
    replies = list(await asyncio.gather(*(house.bring(FEEDBACK, report, "feedback@example.net") for _ in range(4))))
    replies.append(await house.bring(FEEDBACK, report, "feedback@example.net"))
    assert [reply[:3] for reply in replies] == ["250"] * 5
    assert (await house.happened())[-3:] == ["delivered", "complained", "suppression_added"]
    assert await house.states(queue_id) == ["delivered"], "it was"
    (entry,) = await house.ask("suppression", "check", A)
    assert (entry["cause"], entry["origin"], entry["expires"]) == ("complaint", "feedback", "never")
    assert "its owner complained on 20" in await house.refused(A)
    assert {(row["part"], row["whole"]) for row in await _rates(house, "complaint_rate")} == {(1, 1)}


async def _rates(house: House, measure: str) -> list[dict[str, object]]:
    return [row for row in await house.ask("reputation", "app") if row["measure"] == measure]


async def test_who_is_suppressed_while_mail_waits_is_not_written_to_and_the_submitter_is_told(house: House) -> None:
    before = house.config.read_text()
    house.config.write_text(before + '\n[[route]]\ndomain = "example.net"\nhold = true\n')
    await house.server.command("reload")
    queue_id = await house.submit(A)
    await house.wait_for_states(queue_id, "held")
    code, output = await house.server.command("suppression", "add", A, "--account", "app", "--reason", "asked by phone")
    assert code == 0, output
    house.config.write_text(before)
    await house.server.command("reload")
    await house.server.command("queue", "release", "--id", queue_id, "--reason", "the route is back")
    await house.wait_for_states(queue_id, "suppressed")
    (dsn,) = await house.sink.wait_for(1)
    assert dsn.recipients == ("app@example.com",)
    assert b"Recipient suppressed: an operator suppressed it on 20" in dsn.content
    assert not [command for command in house.sink.commands if A in command], "no host was asked"
    (story,) = await house.why(queue_id)
    assert (story["deliveries"][0]["attempts"], story["events"][-1]["type"]) == (0, "suppressed")


async def test_who_is_taken_off_the_list_is_written_to_again(house: House) -> None:
    house.sink.answer("RCPT", A, "550 5.1.1 No such mailbox", times=1)
    await house.wait_for_states(await house.submit(A), "bounced")
    await house.refused(A)
    code, output = await house.server.command("suppression", "remove", A, "--account", "app", "--reason", "back again")
    assert code == 0, output
    await house.wait_for_states(await house.submit(A), "delivered")


async def test_suppression_survives_a_restart_and_a_crash(house: House) -> None:
    house.sink.answer("RCPT", A, "550 5.1.1 No such mailbox")
    await house.wait_for_states(await house.submit(A), "bounced")
    await delivered(house, B)
    path = return_path(house.sink.messages[-1])
    assert await house.server.stop() == 0
    await house.server.start()
    assert "it bounced" in await house.refused(A)
    report = bounce(house.sink.messages[-1], B)
    assert (await house.bring(path, report)).startswith("250"), "its token outlives the process"
    await house.server.kill()
    await house.server.start()
    assert "it bounced" in await house.refused(B), "what was answered with 250 is on disk"
    await house.bring(path, report)
    assert (await house.happened()).count("bounced") == 2


async def test_why_tells_of_a_recipient_from_acceptance_to_suppression(house: House) -> None:
    queue_id, path, _ = await delivered(house)
    await house.bring(path, bounce(house.sink.messages[0], A))
    (story,) = await house.why(A)
    assert story["queue_id"] == queue_id
    assert [event["type"] for event in story["events"]] == ["accepted", "delivered", "bounced", "suppression_added"]
    bounced = story["events"][2]
    assert (bounced["detail"]["late"], bounced["class"], bounced["hardness"]) == ("report", "bad_mailbox", "hard")
    code, told = await house.server.command("why", A)
    assert code == 0
    for part in ("accepted from account app", "250 ", "bounced", "User unknown in local recipient table", "suppress"):
        assert part in told, told
