"""From a mail client to a receiving host, and back as a notification, through the real daemon."""

import email
import email.policy
import hashlib
import json
import smtplib
from pathlib import Path

from mta.demo.verify import verify
from mta.dkim.keys import SigningKey
from mta.mail.header import Header, split
from tests.scenarios.house import House, message, open_house


async def test_what_leaves_is_what_came_but_for_the_documented_fields(house: House) -> None:
    body = b"A line with a dot:\r\n.\r\n..two\r\n" + b"x" * 998 + b"\r\n8-bit: \xc3\xa9\r\n\r\nend  \r\n\r\n"
    header = b"From: app@example.com\r\nTo: a@example.net\r\nSUBJECT:  odd\r\n  folding\r\nBcc: b@example.org\r\n"
    header += b"X-MTA-Tag: spring\r\nMessage-ID: <kept@example.com>\r\n"
    await house.submit("a@example.net", content=header + b"\r\n" + body)
    (received,) = await house.sink.wait_for(1)
    came_header, came_body = split(received.content)
    assert hashlib.sha256(came_body).digest() == hashlib.sha256(body).digest()
    kept = b"From: app@example.com\r\nTo: a@example.net\r\nSUBJECT:  odd\r\n  folding\r\n"
    assert kept in came_header
    fields = {field.name for field in Header.parse(came_header).fields}
    assert fields == {"from", "to", "subject", "message-id", "date", "received", "dkim-signature", "x-report-token"}


async def test_it_leaves_with_two_signatures_that_verify(house: House) -> None:
    await house.submit("a@example.net")
    (received,) = await house.sink.wait_for(1)
    keys = [
        SigningKey.parse("example.com", selector, (house.folder / "dkim" / f"example.com.{selector}.pem").read_bytes())
        for selector in ("r1", "e1")
    ]
    published = {key.dns_name: key.dns_record for key in keys}
    assert [(each.algorithm, each.valid) for each in verify(received.content, published.get)] == [
        ("rsa-sha256", True),
        ("ed25519-sha256", True),
    ]


async def test_only_the_greylisted_recipient_is_tried_again(house: House) -> None:
    house.sink.answer("RCPT", "b@example.net", "450 4.7.1 come back later", times=1)
    queue_id = await house.submit("a@example.net", "b@example.net")
    await house.wait_for_states(queue_id, "delivered", "delivered")
    assert sorted(house.sink.recipients) == [["a@example.net"], ["b@example.net"]]


async def test_a_permanent_refusal_comes_back_to_the_submitter_as_a_dsn(house: House) -> None:
    house.sink.answer("RCPT", "nobody@example.net", "550 5.1.1 No such mailbox")
    queue_id = await house.submit("nobody@example.net")
    (dsn,) = await house.sink.wait_for(1)
    assert dsn.reverse_path.strip("<>") == ""
    assert dsn.recipients == ("app@example.com",)
    parsed = email.message_from_bytes(dsn.content, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report"
    assert "550 5.1.1 No such mailbox" in dsn.content.decode()
    await house.wait_for_states(queue_id, "bounced")


async def test_why_tells_the_whole_story_by_id_message_id_and_recipient(house: House) -> None:
    house.sink.answer("DOT", None, "451 4.3.2 not now", times=1)
    queue_id = await house.submit("a@example.net")
    await house.wait_for_states(queue_id, "delivered")
    (story,) = await house.why(queue_id)
    assert [event["type"] for event in story["events"]] == ["accepted", "deferred", "delivered"]
    assert story["events"][1]["reply"]["enhanced"] == "4.3.2"
    assert (await house.why(story["message_id"]))[0]["queue_id"] == queue_id
    assert (await house.why("a@example.net"))[0]["queue_id"] == queue_id


async def test_a_domain_without_hosts_bounces_and_a_silent_name_server_defers(house: House) -> None:
    house.names.add("null.example", "MX", "0 .")
    bounced = await house.submit("a@null.example")
    await house.wait_for_states(bounced, "bounced")
    unknown = await house.submit("a@nowhere.example")
    await house.wait_for_states(unknown, "bounced")


async def test_mx_at_a_private_address_is_refused(house: House) -> None:
    house.names.add("inner.example", "MX", "10 mx.inner.example.")
    house.names.add("mx.inner.example", "A", "10.0.0.1")
    queue_id = await house.submit("a@inner.example")
    await house.wait_for_states(queue_id, "bounced")


async def test_an_operator_holds_releases_and_cancels(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", retry='["1h"]') as house:
        house.sink.answer("RCPT", None, "450 4.7.1 later")
        queue_id = await house.submit("a@example.net", "b@example.net")
        await house.wait_for_events(queue_id, "deferred", "deferred")
        code, output = await house.server.command("queue", "hold", "--id", queue_id, "--reason", "looking into it")
        assert (code, "2 deliveries" in output) == (0, True), output
        assert await house.states(queue_id) == ["held", "held"]
        (story,) = await house.why(queue_id)
        assert story["deliveries"][0]["hold_reason"] == "looking into it"
        await house.server.command("queue", "release", "--id", queue_id)
        await house.wait_for_states(queue_id, "queued", "queued")
        await house.server.command("queue", "cancel", "--id", queue_id)
        await house.wait_for_states(queue_id, "cancelled", "cancelled")


async def test_send_submits_through_the_servers_own_listener(house: House) -> None:
    letter = house.folder / "letter.eml"
    letter.write_bytes(b"Subject: By hand\n\nGood morning.\n")
    code, output = await house.server.command("send", "--from", "app@example.com", "--to", "a@example.net", str(letter))
    assert code == 0, output
    (received,) = await house.sink.wait_for(1)
    assert b"Subject: By hand\r\n" in received.content


async def test_an_account_made_by_command_can_submit_at_once(house: House) -> None:
    code, output = await house.server.command("account", "add", "shop", "--domain", "example.com", "--json")
    assert code == 0, output
    made = json.loads(output)
    with smtplib.SMTP(*house.server.address("submission"), timeout=20) as client:
        client.starttls(context=house.context())
        assert client.login(made["name"], made["password"])[0] == 235


async def test_a_reload_applies_routes_without_dropping_a_connection(house: House) -> None:
    client = house.connect()
    house.config.write_text(house.config.read_text() + '\n[[route]]\ndomain = "example.net"\nhold = true\n')
    code, output = await house.server.command("reload")
    assert (code, "applied: route" in output) == (0, True), output
    client.noop()
    client.quit()
    queue_id = await house.submit("a@example.net")
    await house.wait_for_states(queue_id, "held")


async def test_a_reload_of_a_broken_configuration_keeps_the_old_one(house: House) -> None:
    house.config.write_text(house.config.read_text() + "\n[queues]\n")
    code, output = await house.server.command("reload")
    assert code == 78
    assert "queues" in output
    await house.submit("a@example.net")
    await house.sink.wait_for(1)


async def test_the_queue_survives_a_restart(house: House) -> None:
    house.sink.answer("RCPT", None, "450 4.7.1 later", times=1)
    queue_id = await house.submit("a@example.net", content=message(("a@example.net",)))
    await house.wait_for_events(queue_id, "deferred")
    assert await house.server.stop() == 0
    await house.server.start()
    await house.wait_for_states(queue_id, "delivered")
