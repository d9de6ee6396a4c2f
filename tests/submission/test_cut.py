"""Open connections of an account that may not be used any more are cut, whatever their clients are doing."""

import asyncio

from mta.accounts.account import Directory
from tests.submission.conftest import HEADER, House
from tests.submission.test_acceptance import SlowStore

GONE = b"421 4.7.0 Error: account shop may not be used any more\r\n"


def of_the_shop(account: str) -> bool:
    return account == "shop"


async def test_clients_of_the_account_are_cut_and_others_are_not(house: House) -> None:
    async with (
        await house.logged_in() as idle,
        await house.logged_in() as in_transaction,
        await house.talk() as nobody,
    ):
        await in_transaction.ask("MAIL FROM:<a@own.example>")
        assert house.server.cut_accounts(lambda account: account == "other") == 0
        assert house.server.cut_accounts(of_the_shop) == 2
        for talk in (idle, in_transaction):
            assert await talk.rest() == GONE
        assert (await nobody.ask("NOOP")).startswith("250")


async def test_a_message_that_is_being_received_is_not_taken(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER)
        async with asyncio.timeout(30):
            while not house.server.budget.held:  # noqa: ASYNC110  a budget tells nobody when it gives room
                await asyncio.sleep(0.001)
        house.server.cut_accounts(of_the_shop)
        assert await talk.rest() == GONE
    await house.emptied()
    assert house.messages == []


async def test_a_message_that_is_being_written_is_answered_first(house: House) -> None:
    slow = SlowStore(house)
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        # what is pipelined behind the dot is not obeyed any more, or finds no account
        house.authenticator.replace(Directory([]))
        await talk.send(HEADER + b"\r\n.\r\nMAIL FROM:<a@own.example>\r\n")
        async with asyncio.timeout(30):
            await slow.asked.wait()
        assert house.server.cut_accounts(of_the_shop) == 1
        slow.gate.set()
        replies = (await talk.rest()).splitlines(keepends=True)
    assert replies[0].startswith(b"250 2.0.0 Ok: queued as ")
    assert replies[-1] == GONE
    assert len(house.messages) == 1


async def test_who_has_gone_by_itself_is_not_counted(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.ask("QUIT")
        await talk.rest()
    await house.emptied()
    assert house.server.cut_accounts(of_the_shop) == 0
