"""`mta why`: the whole story of a message."""

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command


def test_a_deferral_is_told_with_host_reply_and_what_comes_next(mta: Command, letterbox: dict[str, str]) -> None:
    head, accepted, standing, attempt, said = mta("why", letterbox["deferred"]).lines[:5]
    assert head.split() == [letterbox["deferred"], f"<{letterbox['deferred']}@example.com>"]
    assert "accepted from account app (transactional), sender <app@example.com>" in accepted
    assert standing.startswith("  to bob@example.net: queued, next attempt in ")
    assert attempt.endswith("deferred, attempt 1, 1.50 s")
    assert said.strip() == "mx.example.net[192.0.2.1]:25, no TLS, at rcpt: 450 4.7.1 come back later"


def test_what_is_held_says_why_and_how_to_release_it(mta: Command, letterbox: dict[str, str]) -> None:
    queue_id = letterbox["held"]
    assert (
        f"  to carol@example.org: held: looking into it; mta queue release --id {queue_id}"
        in mta("why", queue_id).lines
    )
    assert any(line.endswith("held: looking into it (by uid 0)") for line in mta("why", queue_id).lines)


@pytest.mark.parametrize("text", ["bob@example.net", "bob@EXAMPLE.NET", "<{deferred}@example.com>", "{deferred}"])
def test_it_finds_by_id_message_id_and_recipient(mta: Command, letterbox: dict[str, str], text: str) -> None:
    assert mta("why", text.format(**letterbox), "--json").row["queue_id"] == letterbox["deferred"]


def test_json_has_the_message_its_deliveries_and_its_events(mta: Command, letterbox: dict[str, str]) -> None:
    story = mta("why", letterbox["deferred"], "--json").row
    assert list(story) == [
        "queue_id",
        "accepted_at",
        "account",
        "stream",
        "sender",
        "message_id",
        "size",
        "deliveries",
        "events",
    ]
    assert [event["type"] for event in story["events"]] == ["accepted", "deferred"]
    assert story["deliveries"][0]["reply"] == "450 4.7.1 come back later"


def test_what_nobody_knows_is_a_negative_answer(mta: Command, letterbox: dict[str, str]) -> None:
    answer = mta("why", "nobody@example.net")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "nothing is known of 'nobody@example.net'" in answer.stderr


@pytest.mark.parametrize("name", ["evil", "evil_held"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_foreign_text_never_reaches_a_terminal_raw(
    mta: Command, letterbox: dict[str, str], name: str, form: list[str]
) -> None:
    answer = mta("why", letterbox[name], *form)
    assert answer.exit_code == 0
    assert "evil" in answer.stdout
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stdout)


def test_a_text_that_nobody_knows_is_not_echoed_raw(mta: Command, letterbox: dict[str, str]) -> None:
    assert not UNFIT_FOR_A_TERMINAL.search(mta("why", "\x1b[31mred").stderr)
