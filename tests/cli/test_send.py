"""`mta send`: a message through the running server's own listener."""

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command
from tests.cli.waiting import eventually
from tests.scenarios.house import House

FROM = ["--from", "app@example.com"]


def test_standard_input_becomes_a_message(live: Command, house: House) -> None:
    answer = live("send", *FROM, "--to", "stdin@example.org", "-", "--json", stdin=b"Subject: By hand\n\nHello.\n")
    assert answer.exit_code == 0, answer.stderr
    queue_id = answer.row["queue_id"]
    assert answer.row["reply"].endswith(f"Ok: queued as {queue_id}")
    assert live("why", queue_id, "--json").row["message_id"] == f"<{queue_id}@mail.example.com>"
    eventually(lambda: ["stdin@example.org"] in house.sink.recipients)
    (received,) = [each for each in house.sink.messages if each.recipients == ("stdin@example.org",)]
    for field in (b"Subject: By hand\r\n", b"From: app@example.com\r\n", b"To: stdin@example.org\r\n"):
        assert field in received.content
    assert received.content.endswith(b"\r\n\r\nHello.\r\n")


def test_people_are_told_how_to_follow_it(live: Command) -> None:
    answer = live("send", *FROM, "--to", "a@example.org", "-", stdin=b"Subject: x\n\n")
    assert answer.lines[1].startswith("what becomes of it: mta why ")


def test_a_message_without_a_header_is_bad_data(live: Command) -> None:
    answer = live("send", *FROM, "--to", "a@example.org", "-", stdin=b"Hello there\n\nbody\n")
    assert answer.exit_code == 65
    assert "has no header" in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "nonsense", "--to", "a@example.org"],
        ["--from", "app@example.com\r\nRCPT TO:<x@example.org>", "--to", "a@example.org"],
        [*FROM, "--to", "a@example.org\nBcc: x@example.org"],
        [*FROM, "--to", "<a@example.org>"],
        [*FROM, "--to", ""],
    ],
    ids=repr,
)
def test_what_is_no_address_is_bad_data(live: Command, arguments: list[str]) -> None:
    answer = live("send", *arguments, "-", stdin=b"Subject: x\n\n")
    assert answer.exit_code == 65
    assert "write an address such as" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "ceo@bank.example", "--account", "app"], "refused: 550 5.7.1 "),
        (["--from", "ceo@bank.example"], "no account may send from 'bank.example'"),
        (["--from", "app@example.com", "--account", "nobody"], "there is no account 'nobody'"),
    ],
    ids=str,
)
def test_a_sender_that_may_not_is_refused(live: Command, arguments: list[str], said: str) -> None:
    answer = live("send", *arguments, "--to", "a@example.org", "-", stdin=b"Subject: x\n\n")
    assert answer.exit_code == 1
    assert said in answer.stderr
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stderr)


def test_a_stream_can_be_chosen(live: Command) -> None:
    sent = live("send", *FROM, "--stream", "bulk", "--to", "a@example.org", "-", "--json", stdin=b"Subject: x\n\n")
    assert live("why", sent.row["queue_id"], "--json").row["stream"] == "bulk"


def test_a_file_that_is_not_there_is_wrong_usage(live: Command) -> None:
    assert live("send", *FROM, "--to", "a@example.org", "/nonexistent/letter.eml").exit_code == 2


def test_without_a_server_it_says_how_to_start_one(mta: Command) -> None:
    answer = mta("send", *FROM, "--to", "a@example.org", "-", stdin=b"Subject: x\n\n")
    assert answer.exit_code == 69
    assert answer.stderr.endswith("start it with: mta serve\n")
