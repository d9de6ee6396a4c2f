"""`mta suppression`: beside a server and without one."""

import smtplib
from collections.abc import Iterator

import pytest

from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command
from tests.scenarios.house import SENDER, House


@pytest.fixture
def ann(live: Command) -> Iterator[str]:
    """An address that the running server's account does not write to."""
    address = "ann@example.org"
    live("suppression", "add", address, "--account", "app", "--reason", "her wish")
    yield address
    live("suppression", "remove", address, "--account", "app", "--reason", "the test is over")


def at_rcpt(house: House, address: str) -> tuple[int, str]:
    with house.connect() as client:
        client.mail(SENDER)
        code, text = client.rcpt(address)
        client.rset()
    return code, text.decode()


def test_who_is_suppressed_is_listed_without_a_server(mta: Command, returned: dict[str, str]) -> None:
    listed = mta("suppression", "list", "--json").rows
    assert [row["address"] for row in listed] == ["`reboot`@example.net", "kay@example.net", "lee@example.net"]
    kay = listed[1]
    assert (kay["account"], kay["cause"], kay["origin"], kay["expires"]) == ("app", "hard_bounce", "report", "never")
    assert kay["detail"] == "550 5.1.1 no such user"


def test_of_another_account_nobody_is(mta: Command, returned: dict[str, str]) -> None:
    assert mta("suppression", "list", "--account", "other").lines == ["nobody is suppressed"]


def test_that_there_is_more_is_said(mta: Command, returned: dict[str, str]) -> None:
    assert mta("suppression", "list", "--limit", "1").lines[-1] == "… and more; --limit shows up to 10 of them"
    assert len(mta("suppression", "list", "--limit", "1", "--json").rows) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["kay@example.net"], 0),
        (["kay@EXAMPLE.net"], 0),
        (["kay@example.net", "--account", "app"], 0),
        (["kay@example.net", "--account", "other"], 1),
        (["Kay@example.net"], 1),
        (["nobody@example.net"], 1),
        (["no address"], 65),
        ([], 2),
    ],
    ids=str,
)
def test_check_answers_with_its_exit_code(
    mta: Command, returned: dict[str, str], arguments: list[str], exit_code: int
) -> None:
    for form in ([], ["--json"]):
        assert mta("suppression", "check", *arguments, *form).exit_code == exit_code
    assert len(mta("suppression", "check", *arguments, "--json").stdout.splitlines()) == (exit_code == 0)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_foreign_text_never_reaches_a_terminal_raw(mta: Command, returned: dict[str, str], form: list[str]) -> None:
    answer = mta("suppression", "list", *form)
    assert "evil" in answer.stdout
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stdout)


def test_who_is_added_is_refused_at_rcpt_and_not_told_why(live: Command, house: House, ann: str) -> None:
    code, text = at_rcpt(house, ann)
    assert (code, text[:5]) == (550, "5.7.1")
    assert "her wish" not in text
    assert at_rcpt(house, "somebody@example.org")[0] == 250


def test_who_is_removed_is_written_to_again(live: Command, house: House) -> None:
    address = "bea@example.org"
    assert live("suppression", "add", address, "--account", "app", "--reason", "x", "--json").row == {
        "address": address,
        "account": "app",
        "added": True,
    }
    answer = live("suppression", "remove", address, "--account", "app", "--reason", "x")
    assert answer.lines == [f"{address} may be written to again by account app"]
    assert at_rcpt(house, address)[0] == 250


def test_added_twice_is_said(live: Command, ann: str) -> None:
    answer = live("suppression", "add", ann, "--account", "app", "--reason", "again")
    assert (answer.exit_code, answer.lines) == (0, [f"{ann} was already suppressed for account app"])


def test_removing_what_is_not_there_is_a_negative_answer(live: Command) -> None:
    for form in ([], ["--json"]):
        answer = live("suppression", "remove", "x@example.org", "--account", "app", "--reason", "x", *form)
        assert answer.exit_code == 1
        assert "x@example.org" in answer.stdout


@pytest.mark.parametrize("verb", ["add", "remove"])
@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["a@example.org", "--account", "app"], 2),
        (["a@example.org", "--reason", "x"], 2),
        (["no address", "--account", "app", "--reason", "x"], 65),
    ],
    ids=str,
)
def test_wrong_usage_and_bad_addresses_are_told_apart(
    live: Command, verb: str, arguments: list[str], exit_code: int
) -> None:
    assert live("suppression", verb, *arguments).exit_code == exit_code


def test_an_account_that_is_not_there_has_no_list_to_add_to(live: Command) -> None:
    answer = live("suppression", "add", "a@example.org", "--account", "nobody", "--reason", "x")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "mta account list shows all" in answer.stderr


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_to_change_a_list_a_server_has_to_run(mta: Command, verb: str) -> None:
    assert mta("suppression", verb, "a@example.org", "--account", "app", "--reason", "x").exit_code == 69


def test_a_refused_submission_says_so_with_smtplib(house: House, ann: str) -> None:
    with house.connect() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail(SENDER, [ann], b"Subject: x\r\n\r\nx\r\n")
