"""An operator pauses what goes wrong: mail is accepted and waits, `mta why` says for what, and goes on when resumed."""

from tests.scenarios.house import House

PATIENCE = 50
"""Messages: a pause reaches attempts a moment after its command has answered, and what came before it is delivered."""


async def test_paused_mail_waits_says_so_and_goes_on_when_it_is_resumed(house: House) -> None:
    assert await house.ask("queue", "pause", "--account", "app", "--reason", "looking into it")
    queue_id = await _submitted_and_waiting(house)
    (story,) = await house.why(queue_id)
    for delivery in story["deliveries"]:
        assert (delivery["state"], delivery["attempts"]) == ("queued", 0)
        (held_by,) = delivery["held_by"]
        assert held_by["kind"] == "pause"
        assert "account app is paused since" in held_by["text"]
        assert "looking into it; mta queue resume --account app" in held_by["text"]
    rows = await house.ask("queue", "stats")
    assert [row["paused"] for row in rows if "paused" in row] == ["account app"]
    (lane,) = [row for row in rows if "lane" in row]
    assert (lane["lane"], lane["waiting"] >= 2) == ("app/transactional", True)
    assert await house.states(queue_id) == ["queued", "queued"]
    assert await house.ask("queue", "resume", "--account", "app")
    await house.wait_for_states(queue_id, "delivered", "delivered")
    assert not any("paused" in row for row in await house.ask("queue", "stats"))


async def _submitted_and_waiting(house: House) -> str:
    """Submit until a message is not leased at once; what waits of a paused account, no claim takes."""
    for _ in range(PATIENCE):
        queue_id = await house.submit("a@example.net", "b@example.org")
        if await house.states(queue_id) == ["queued", "queued"]:
            return queue_id
    raise AssertionError("mail of a paused account is delivered")


async def test_a_paused_site_holds_up_nobody_else(house: House) -> None:
    # which site a domain belongs to is known once something went there
    first = await house.submit("a@example.net")
    await house.wait_for_states(first, "delivered")
    await house.ask("queue", "pause", "--site", "mx.example.net", "--reason", "they asked us to")
    waits = await _overtaken(house)
    await house.ask("queue", "resume", "--site", "mx.example.net")
    await house.wait_for_states(waits, "delivered")


async def _overtaken(house: House) -> str:
    """Submit until a message to the paused site still waits when one to another site, accepted later, is delivered."""
    for _ in range(PATIENCE):
        waits = await house.submit("b@example.net")
        goes = await house.submit("c@example.org")
        await house.wait_for_states(goes, "delivered")
        if await house.states(waits) != ["delivered"]:
            return waits
    raise AssertionError("mail to a paused site is delivered")
