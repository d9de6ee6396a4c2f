"""What a running server does when asked, on a real store and with a worker of the test's own."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mta.accounts.account import Directory
from mta.accounts.password import verify_password
from mta.control.protocol import CommandFailed
from mta.queue.model import State
from mta.storage.changes import PAGE
from tests.control.bench import Bench, FakeWorker


async def test_status_and_reload_answer_what_the_worker_says(bench: Bench) -> None:
    assert (await bench.ask("status"))["hostname"] == "mail.example.com"
    assert await bench.ask("reload") == {
        "applied": ("account",),
        "needs_restart": ("hostname",),
        "warnings": ("a warning",),
    }


async def test_a_command_of_another_version_is_a_usage_error(bench: Bench) -> None:
    with pytest.raises(CommandFailed, match=r"'queue\.dance'; it is of another version") as failed:
        await bench.ask("queue.dance")
    assert failed.value.exit_code == 2


async def test_hold_release_and_cancel_change_what_is_selected_and_say_how_much(bench: Bench) -> None:
    one, two = await bench.accept("a@example.net", "b@example.net"), await bench.accept("c@example.org")
    assert await bench.ask("queue.hold", domain="example.net", reason="why not") == {
        "changed": 2,
        "active": 0,
        "other": 0,
    }
    assert (await bench.states(one), await bench.states(two)) == ([State.HELD] * 2, [State.QUEUED])
    assert (await bench.ask("queue.release", state="held"))["changed"] == 2
    assert (await bench.ask("queue.cancel", id=two))["changed"] == 1
    assert await bench.states(two) == [State.CANCELLED]
    assert [event.detail["who"] for event in bench.worker.events] == ["uid 0"] * 5


async def test_retry_leaves_alone_what_is_held(bench: Bench) -> None:
    queue_id = await bench.accept("a@example.net")
    await bench.ask("queue.hold", id=queue_id, reason="x")
    assert await bench.ask("queue.retry", id=queue_id) == {"changed": 0, "active": 0, "other": 1}


async def test_a_long_change_tells_how_far_it_has_come(bench: Bench) -> None:
    await bench.accept(*(f"u{number}@example.net" for number in range(2 * PAGE + 1)))
    rows = await bench.rows("queue.hold", domain="example.net", reason="why not")
    told = [row["progress"] for row in rows[:-1]]
    assert len(told) > 1
    assert told == sorted(set(told))
    assert rows[-1] == {"changed": 2 * PAGE + 1, "active": 0, "other": 0}


async def test_a_pause_is_there_until_it_is_resumed(bench: Bench) -> None:
    paused = await bench.ask("queue.pause", scope="account", value="shop", reason="looking into it")
    assert paused == {"scope": "account", "value": "shop", "changed": True}
    (pause,) = await bench.store.pauses()
    assert (pause.value, pause.reason, pause.who) == ("shop", "looking into it", "uid 0")
    assert (await bench.ask("queue.pause", scope="account", value="shop", reason="again"))["changed"] is False
    assert (await bench.ask("queue.resume", scope="account", value="shop"))["changed"] is True
    assert await bench.store.pauses() == []
    assert bench.worker.woken == 3


async def test_mail_of_an_account_that_is_gone_can_be_paused(bench: Bench) -> None:
    await bench.accept("a@example.net")
    bench.worker.directory = Directory([])
    assert (await bench.ask("queue.pause", scope="account", value="app", reason="x"))["changed"] is True


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ({"scope": "moon", "value": "x", "reason": "x"}, 65),
        ({"scope": "stream", "value": "river", "reason": "x"}, 65),
        ({"scope": "all", "value": "app", "reason": "x"}, 65),
        ({"scope": "site", "value": "", "reason": "x"}, 65),
        ({"scope": "account", "value": "nobody", "reason": "x"}, 1),
        ({"scope": "all"}, 65),
        ({}, 65),
    ],
)
async def test_a_pause_that_cannot_be_is_refused(bench: Bench, arguments: dict[str, Any], exit_code: int) -> None:
    with pytest.raises(CommandFailed) as failed:
        await bench.ask("queue.pause", **arguments)
    assert failed.value.exit_code == exit_code
    assert await bench.store.pauses() == []


@pytest.mark.parametrize("command", ["queue.retry", "queue.release"])
async def test_what_an_operator_makes_due_is_looked_for_at_once(bench: Bench, command: str) -> None:
    queue_id = await bench.accept("a@example.net")
    await bench.ask(command, id=queue_id)
    assert bench.worker.woken == 1


@pytest.mark.parametrize("arguments", [{"state": "asleep"}, {"older_than": "x"}, {"older_than": 1e300}])
async def test_a_selector_that_is_none_changes_nothing(bench: Bench, arguments: dict[str, Any]) -> None:
    queue_id = await bench.accept("a@example.net")
    with pytest.raises(CommandFailed, match="no such selector") as failed:
        await bench.ask("queue.cancel", **arguments)
    assert failed.value.exit_code == 65
    assert await bench.states(queue_id) == [State.QUEUED]


@pytest.mark.parametrize(
    ("arguments", "login"),
    [
        ({"account": "shop"}, "shop"),
        ({"account": "shop", "stream": "bulk"}, "shop/bulk"),
        ({"sender": "alice@example.com"}, "app"),
        ({"sender": "alice@EXAMPLE.com"}, "app"),
    ],
)
async def test_a_credential_is_for_the_account_named_or_the_only_one_that_may(
    bench: Bench, arguments: dict[str, Any], login: str
) -> None:
    assert await bench.ask("credential", **arguments) == {
        "host": "127.0.0.1",
        "port": 587,
        "tls": "starttls",
        "certificate_sha256": "ab12",
        "login": login,
        "password": "secret",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"account": "nobody"}, "there is no account 'nobody'; mta account list shows all"),
        ({"sender": "a@shop.example"}, "2 accounts may send from 'shop.example'; name one with --account"),
        ({"sender": "a@bank.example"}, "no account may send from 'bank.example'; name one with --account"),
        ({"sender": "nonsense"}, "no account may send from 'nonsense'; name one with --account"),
        ({}, "no account may send from ''; name one with --account"),
    ],
)
async def test_a_credential_for_nobody_in_particular_is_refused(
    bench: Bench, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandFailed) as failed:
        await bench.ask("credential", **arguments)
    assert (failed.value.text, failed.value.exit_code) == (said, 1)


async def test_without_a_listener_there_is_nothing_to_have_a_credential_for(bench: Bench) -> None:
    bench.worker.listener = None
    with pytest.raises(CommandFailed, match=r"set submission\.listen") as failed:
        await bench.ask("credential", account="app")
    assert failed.value.exit_code == 69


async def test_an_account_is_made_with_a_password_that_only_its_hash_is_kept_of(bench: Bench) -> None:
    row = await bench.ask("account.add", name="news", domains=["EXAMPLE.com"], stream="bulk")
    stored = await bench.store.reader.account("news")
    assert stored is not None
    data = json.loads(stored.data)
    assert (data["domains"], data["stream"]) == (["example.com"], "bulk")
    assert row["password"] not in stored.data
    assert verify_password(data["password_hash"], row["password"].encode())
    assert bench.worker.refreshed == 1


async def test_a_new_password_makes_the_old_one_useless(bench: Bench) -> None:
    old = await bench.ask("account.add", name="news", domains=["example.com"])
    new = await bench.ask("account.passwd", name="news")
    stored = await bench.store.reader.account("news")
    assert stored is not None
    password_hash = json.loads(stored.data)["password_hash"]
    assert verify_password(password_hash, new["password"].encode())
    assert not verify_password(password_hash, old["password"].encode())


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ({"name": "app", "domains": ["example.com"]}, 1),
        ({"name": "a b", "domains": ["example.com"]}, 65),
        ({"name": "", "domains": ["example.com"]}, 65),
        ({"name": "a/b", "domains": ["example.com"]}, 65),
        ({"name": "\x1b[31m", "domains": ["example.com"]}, 65),
        ({"name": "new", "domains": ["not a domain"]}, 65),
        ({"name": "new", "domains": ["example.com"], "stream": "river"}, 65),
        ({"name": "new", "domains": ["unknown.example"]}, 1),
    ],
)
async def test_an_account_that_cannot_be_is_not_made(bench: Bench, arguments: dict[str, Any], exit_code: int) -> None:
    with pytest.raises(CommandFailed) as failed:
        await bench.ask("account.add", **arguments)
    assert failed.value.exit_code == exit_code
    assert await bench.store.reader.accounts() == []


async def test_a_password_for_an_account_that_the_store_does_not_have_is_refused(bench: Bench) -> None:
    with pytest.raises(CommandFailed, match="there is no account 'app' in the store") as failed:
        await bench.ask("account.passwd", name="app")
    assert failed.value.exit_code == 1


async def test_too_many_credentials_at_once_are_a_reason_to_try_again(bench: Bench) -> None:
    class BusyWorker(FakeWorker):
        def one_use_credential(self, account: str, stream: str | None) -> tuple[str, str]:
            raise ValueError("1000 one-use credentials wait to be used; try again in a minute")

    with pytest.raises(CommandFailed, match="try again") as failed:
        await replace(bench, worker=BusyWorker()).ask("credential", account="app")
    assert failed.value.exit_code == 75
