"""`mta bounces`: what is printed, and how it fails."""

import base64
import json
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mta.bounces.letter import MAX_SIZE
from mta.cli.bounces import bounces
from tests.bounces.letters import plain, report
from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command
from tests.cli.letterbox import LETTER

FAILED = (
    "Reporting-MTA: dns; mx.dest.example\n\nFinal-Recipient: rfc822; kay@dest.example\nAction: failed\nStatus: 5.1.1\n"
)


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(bounces, [str(argument) for argument in arguments], input=stdin)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_file_gives_one_object(tmp_path: Path) -> None:
    first, second = tmp_path / "a.eml", tmp_path / "b.eml"
    first.write_bytes(report(FAILED))
    second.write_bytes(plain("Hello"))
    result = run("classify", first, second)
    assert result.exit_code == 0
    bounce, other = rows(result)
    assert (bounce["file"], bounce["kind"], other["file"], other["kind"]) == ("a.eml", "bounce", "b.eml", "other")
    (recipient,) = bounce["recipients"]
    assert {key: recipient[key] for key in ("address", "action", "status", "smtp_code", "hardness", "reason")} == {
        "address": "kay@dest.example",
        "action": "failed",
        "status": "5.1.1",
        "smtp_code": None,
        "hardness": "hard",
        "reason": "bad_mailbox",
    }


def test_without_a_file_stdin_is_read() -> None:
    assert rows(run("classify", stdin=report(FAILED)))[0]["kind"] == "bounce"


def test_a_reply_is_classified_without_any_file() -> None:
    (row,) = rows(run("classify", "--reply", "452 4.2.2 Mailbox full"))
    assert (row["smtp_code"], row["status"], row["reason"], row["hardness"]) == ("452", "4.2.2", "mailbox_full", "soft")


def test_a_file_that_is_missing_does_not_stop_the_others(tmp_path: Path) -> None:
    there = tmp_path / "there.eml"
    there.write_bytes(plain("Hello"))
    result = run("classify", tmp_path / "missing.eml", there)
    assert result.exit_code == 66
    assert [row["file"] for row in rows(result)] == ["there.eml"]
    assert "missing.eml: No such file" in result.stderr


def test_a_file_that_is_too_large_is_other_with_a_note(tmp_path: Path) -> None:
    large = tmp_path / "large.eml"
    large.write_bytes(b"a" * (MAX_SIZE + 1))
    (row,) = rows(run("classify", large))
    assert (row["kind"], row["note"]) == ("other", f"unreadable: more than {MAX_SIZE} octets")


def test_replies_come_as_lines_and_go_as_lines() -> None:
    lines = [
        {"id": "a", "smtp_code": "550", "status": "5.1.1", "text": "550 5.1.1 User unknown"},
        {"id": "b", "smtp_code": None, "status": None, "text": "452 4.2.2 Mailbox full"},
        {"id": "c", "smtp_code": None, "status": None, "text": "zxq"},
    ]
    result = run("classify-replies", stdin="\n".join(map(json.dumps, lines)).encode())
    assert result.exit_code == 0
    assert rows(result) == [
        {"id": "a", "reason": "bad_mailbox", "hardness": "hard"},
        {"id": "b", "reason": "mailbox_full", "hardness": "soft"},
        {"id": "c", "reason": None, "hardness": None},
    ]


def test_an_id_that_cannot_be_printed_stops_nothing() -> None:
    result = run("classify-replies", stdin=b'{"id": "\\ud800", "text": "550 User unknown"}\n')
    assert (result.exit_code, rows(result)[0]["id"]) == (0, "?")


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"text": 1}', '{"text": "x", "smtp_code": "abc"}', '{"text": "x", "status": "5.1"}']
)
def test_a_line_that_is_no_reply_is_told_with_its_number_and_the_rest_goes_on(line: str) -> None:
    result = run("classify-replies", stdin=f'{line}\n{{"id": 1, "text": "550 User unknown"}}\n'.encode())
    assert result.exit_code == 65
    assert "line 1:" in result.stderr
    assert [row["id"] for row in rows(result)] == [1]


def test_other_rules_can_be_used(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nreason = "spam"\ntext = ["zxq"]\n', encoding="utf-8")
    assert rows(run("classify", "--rules", rules, "--reply", "550 zxq"))[0]["reason"] == "spam"


@pytest.mark.parametrize(
    ("content", "exit_code", "told"),
    [(None, 66, "No such file"), ('[[rule]]\nreason = "zxq"', 78, "rule 1"), ("\udcff", 78, "rules.toml")],
)
def test_rules_that_cannot_be_used_are_told_with_their_file(
    content: str | None, exit_code: int, told: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    if content is not None:
        rules.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = run("classify", "--rules", rules, "--reply", "550 zxq")
    assert result.exit_code == exit_code
    assert told in result.stderr


def test_what_came_back_is_listed_newest_first(mta: Command, returned: dict[str, str]) -> None:
    listed = mta("bounces", "list", "--json").rows
    assert [row["kind"] for row in listed] == ["postmaster", "complaint", "bounce"]
    assert (listed[0]["from"], listed[0]["recipient"], listed[0]["id"]) == (
        "who@example.org",
        None,
        returned["postmaster"],
    )
    assert (listed[2]["recipient"], listed[2]["reason"], listed[2]["effect"]) == (
        "kay@example.net",
        "bad_mailbox",
        "applied",
    )


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["--kind", "bounce"], ["bounce"]),
        (["--kind", "postmaster"], ["postmaster"]),
        (["--kind", "abuse"], []),
        (["--since", "1h"], ["postmaster", "complaint", "bounce"]),
        (["--since", "9999-01-01"], []),
        (["--limit", "1"], ["postmaster"]),
    ],
    ids=str,
)
def test_some_of_it_is_listed(mta: Command, returned: dict[str, str], arguments: list[str], kinds: list[str]) -> None:
    assert [row["kind"] for row in mta("bounces", "list", "--json", *arguments).rows] == kinds


def test_that_there_is_more_is_said(mta: Command, returned: dict[str, str]) -> None:
    assert mta("bounces", "list", "--limit", "1").lines[-1] == "… and more; --limit shows up to 10 of them"


@pytest.mark.parametrize("arguments", [["--kind", "parcel"], ["--since", "soon"], ["--limit", "0"]])
def test_wrong_usage_is_said(mta: Command, arguments: list[str]) -> None:
    assert mta("bounces", "list", *arguments).exit_code == 2


def test_rejected_reports_are_listed_alone(mta: Command, returned: dict[str, str]) -> None:
    assert [row["kind"] for row in mta("bounces", "rejected", "--json").rows] == ["complaint"]


@pytest.mark.usefixtures("letterbox")
def test_where_nothing_came_back_it_says_so(mta: Command) -> None:
    assert mta("bounces", "list").lines == ["nothing came back"]
    assert mta("bounces", "rejected").lines == ["nothing was rejected"]
    assert mta("bounces", "list", "--json").rows == []


def test_a_letter_is_printed_as_it_came(site: Path, mta: Command, returned: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mta", "-c", str(mta.config), "bounces", "letter", returned["postmaster"]]
    assert subprocess.run(command, capture_output=True, check=True).stdout == LETTER


def test_a_letter_goes_into_a_new_file_that_is_nobody_elses(
    mta: Command, returned: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "letter.eml"
    answer = mta("bounces", "letter", returned["postmaster"], "-o", str(file))
    assert (answer.lines, file.read_bytes()) == ([f"{file}: {len(LETTER)} octets"], LETTER)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = mta("bounces", "letter", returned["postmaster"], "-o", str(file))
    assert (again.exit_code, again.stdout) == (73, "")


def test_json_has_a_letter_with_all_that_is_known_of_it(mta: Command, returned: dict[str, str]) -> None:
    row = mta("bounces", "letter", returned["postmaster"], "--json").row
    assert (base64.b64decode(row["base64"]), row["from"]) == (LETTER, "who@example.org")


def test_a_report_and_what_is_not_there_have_no_letter(mta: Command, returned: dict[str, str]) -> None:
    for name, told in ((returned["bounce"], "its content is not kept"), ("nothing", "mta bounces list shows all")):
        answer = mta("bounces", "letter", name)
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert told in answer.stderr


@pytest.mark.parametrize("verb", ["list", "rejected"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_foreign_text_never_reaches_a_terminal_raw(
    mta: Command, returned: dict[str, str], verb: str, form: list[str]
) -> None:
    answer = mta("bounces", verb, *form)
    assert "evil" in answer.stdout
    assert not UNFIT_FOR_A_TERMINAL.search(answer.stdout)


@pytest.mark.usefixtures("letterbox")
def test_bounces_that_wait_are_shown_by_site_account_and_stream(mta: Command, site: Path) -> None:
    assert mta("bounces", "withheld").lines == ["no bounce is withheld"]
    with closing(sqlite3.connect(site / "data" / "queue.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO withheld (delivery_id, address, at, site, account, stream, epoch, cause, origin, detail) "
            "VALUES (?, ?, ?, 'mx.example.net', 'app', 'bulk', 0, 'hard_bounce', 'delivery', '550 5.1.1 who?')",
            [("d1", "ann@example.net", 1_760_000_000_000), ("d2", "bob@example.net", 1_760_000_060_000)],
        )
    (row,) = mta("bounces", "withheld", "--json").rows
    assert row == {
        "site": "mx.example.net",
        "account": "app",
        "stream": "bulk",
        "bounces": 2,
        "since": "2025-10-09T08:53:20+00:00",
        "latest": "2025-10-09T08:54:20+00:00",
    }
    assert any("mta bounces apply SITE" in line for line in mta("bounces", "withheld").lines)
    assert any("2 hard bounces at mx.example.net" in line for line in mta("reputation").lines)
    assert not any("hard bounces at" in line for line in mta("reputation", "--json").lines)


def test_of_a_site_that_has_none_waiting_nothing_is_applied_or_discarded(live: Command) -> None:
    for verb in ("apply", "discard"):
        assert live("bounces", verb, "mx.example.net", "--reason", "x").exit_code == 1
