"""An account that writes to too many who do not exist is suspended, its mail is held, and an operator lets it go on."""

import asyncio
import smtplib

from tests.scenarios.house import House, message, send

BULK = "app/bulk"
DELIVERED, BOUNCED = 900, 100


async def test_900_delivered_and_100_hard_bounces_suspend_the_stream_until_it_is_reinstated(house: House) -> None:
    house.sink.answer("RCPT", "later@example.net", "450 4.2.1 later")
    waiting = await house.submit("later@example.net", login=BULK)
    await _deliver(house, [f"r{number}@example.net" for number in range(DELIVERED)])
    gone = [f"r{number}@example.org" for number in range(BOUNCED)]
    house.sink.answer("RCPT", "@example.org", "550 5.1.1 No such mailbox")
    assert (await _standing(house)) == "good"
    await house.submit(*gone, login=BULK)
    await house.until(lambda: _suspensions(house), ["bulk"])

    refusal = await _refused_at_mail(house)
    assert refusal == (
        "550 5.7.1 Stream bulk of account app is suspended: "
        "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"
    )
    await house.wait_for_states(waiting, "held")
    assert await house.suppressed() == sorted(gone)
    await house.wait_for_states(await house.submit("a@example.net"), "delivered")

    await house.server.kill()
    await house.server.start()
    assert await _refused_at_mail(house) == refusal, "it survives a crash"
    assert await _standing(house) == "suspended"

    house.sink.answer("RCPT", "later@example.net", "250 2.1.5 Ok")
    code, output = await house.server.command(
        "account", "reinstate", "app", "--stream", "bulk", "--reason", "the list was cleaned"
    )
    assert code == 0, output
    await house.wait_for_states(waiting, "delivered")
    await house.wait_for_states(await house.submit("b@example.net", login=BULK), "delivered")
    assert await _standing(house) == "good"
    assert "it bounced" in await house.refused(gone[0], login=BULK), "who is gone stays on the list"


async def _deliver(house: House, recipients: list[str]) -> None:
    """Submit one message for all of them, and wait until the store says that they have it."""
    await house.submit(*recipients, login=BULK)
    await house.sink.wait_for(len(recipients), timeout=20)
    await house.until(lambda: _delivered(house), [str(len(recipients))])


async def _delivered(house: House) -> list[str]:
    rows = await house.ask("reputation", "app")
    return list({str(row["whole"]) for row in rows if row["stream"] == "bulk"})


async def _standing(house: House) -> str:
    (standing,) = {row["standing"] for row in await house.ask("reputation", "app") if row["stream"] == "bulk"}
    return str(standing)


async def _suspensions(house: House) -> list[str]:
    return [event["stream"] for event in await house.ask("events", "--type", "suspended")]


async def _refused_at_mail(house: House) -> str:
    def ask() -> str:
        with house.connect(BULK) as client:
            code, text = client.mail("app@example.com")
            return f"{code} {text.decode()}"

    return await asyncio.to_thread(ask)


async def test_an_operator_suspends_an_account_as_a_whole(house: House) -> None:
    client = await asyncio.to_thread(house.connect)
    code, output = await house.server.command("account", "suspend", "app", "--reason", "unpaid")
    assert code == 0, output
    for login in ("app", BULK):
        assert (await house.refused("a@example.net", login=login)).startswith(
            "550 5.7.1 Account app is suspended: unpaid"
        )
    refusal = await asyncio.to_thread(_reply, client)
    assert "Account app is suspended" in refusal, "also on a connection that was there before"
    code, output = await house.server.command("account", "reinstate", "app", "--reason", "paid")
    assert code == 0, output
    await house.wait_for_states(await house.submit("a@example.net"), "delivered")


def _reply(client: smtplib.SMTP) -> str:
    with client:
        try:
            return send(client, "app@example.com", ("a@example.net",), message(("a@example.net",)))
        except smtplib.SMTPResponseException as refusal:
            return str(refusal.smtp_error)
