"""`mta why`: the whole story of a message, and what is known of a recipient beside it."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mta.cli.why import _event_lines
from mta.events import Event, EventType
from mta.mail.outcome import TlsUse, Try
from mta.mail.reply import Reply
from tests.cli.command import UNFIT_FOR_A_TERMINAL, Command


def test_a_deferral_is_told_with_host_reply_and_what_comes_next(mta: Command, letterbox: dict[str, str]) -> None:
    head, accepted, standing, held_by, attempt, said = mta("why", letterbox["deferred"]).lines[:6]
    assert head.split() == [letterbox["deferred"], f"<{letterbox['deferred']}@example.com>"]
    assert "accepted from account app (transactional), sender <app@example.com>" in accepted
    assert standing == "  to bob@example.net: queued, attempts so far: 1"
    assert held_by.startswith("    it waits for the schedule: next attempt in ")
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
        "release_at",
        "expires_at",
        "account",
        "stream",
        "sender",
        "message_id",
        "size",
        "duplicates",
        "duplicate_of",
        "deliveries",
        "events",
    ]
    (held_by,) = story["deliveries"][0]["held_by"]
    assert (held_by["kind"], held_by["until"]) == ("schedule", story["deliveries"][0]["due_at"])
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


def test_a_suppressed_recipient_is_told_with_its_reason_and_the_remedy(mta: Command, returned: dict[str, str]) -> None:
    answer = mta("why", "kay@EXAMPLE.net")
    assert answer.exit_code == 0
    head, added, entry, remedy = answer.lines
    assert head == "kay@example.net"
    assert "suppression_added (account app): hard_bounce, 550 5.1.1 no such user (by uid 0)" in added
    assert entry.startswith("  suppressed for account app since ")
    assert entry.endswith(": it bounced (told by a report): 550 5.1.1 no such user")
    assert remedy.strip() == "if that is over: mta suppression remove kay@example.net --account app --reason …"


def test_nobody_is_asked_to_write_to_who_complained(mta: Command, returned: dict[str, str]) -> None:
    answer = mta("why", "lee@example.net")
    assert "its owner complained (told by a feedback report): abuse" in answer.stdout
    assert "suppression remove" not in answer.stdout


def test_an_address_that_is_no_good_for_a_shell_is_quoted(mta: Command, returned: dict[str, str]) -> None:
    assert "remove '`reboot`@example.net' --account" in mta("why", "`reboot`@example.net").stdout


def test_json_ends_with_what_is_known_of_the_recipient(mta: Command, returned: dict[str, str]) -> None:
    row = mta("why", "kay@example.net", "--json").row
    assert list(row) == ["recipient", "suppressions", "events"]
    assert [(entry["account"], entry["cause"]) for entry in row["suppressions"]] == [("app", "hard_bounce")]
    assert [event["type"] for event in row["events"]] == ["suppression_added"]


AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GONE = Reply.of(550, "5.1.1", "no such user")
LATE = {"late": "report", "accepted_at": "x"}
ON_LIST = {"cause": "complaint", "origin": "feedback", "expires_at": None, "reason": "abuse"}
TRY = Try("mx.example.net", "192.0.2.1", 25, "rcpt", GONE, True)
DANE = replace(
    TRY,
    tls=TlsUse("TLSv1.3", "TLS_AES_256_GCM_SHA384", "dane", verified=True, proof="x", offered="DSN SIZE=1000 STARTTLS"),
    duration=timedelta(seconds=1.25),
)
BARE = replace(TRY, tls=TlsUse("", "", "opportunistic", offered="SIZE"))
FORBIDDEN = Reply.of(451, "4.7.5", "forbidden")
SKIPPED = Try("mx.example.net", "", 25, "connect", FORBIDDEN, False, TlsUse("", "", "mta-sts"))
NOT_REACHED = Try("mx.example.net", "192.0.2.1", 25, "connect", Reply.of(451, "4.4.1", "refused"), False)
ANYBODY = replace(TRY, tls=TlsUse("TLSv1.2", "ECDHE"))
OLD = replace(TRY, stage="starttls", tls=TlsUse("", "", "require"))
"""As it was told before what was offered was kept."""


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            Event("e", AT, EventType.BOUNCED, reply=GONE, klass="bad_mailbox", hardness="hard", detail=LATE),
            ["bounced, late, told by a report, bad_mailbox (hard): 550 5.1.1 no such user"],
        ),
        (
            Event(
                "e", AT, EventType.BOUNCED, attempt=2, reply=GONE, klass="bad_mailbox", hardness="hard", tries=(TRY,)
            ),
            [
                "bounced, attempt 2, bad_mailbox (hard)",
                "  mx.example.net[192.0.2.1]:25, no TLS, at rcpt: 550 5.1.1 no such user",
            ],
        ),
        (
            Event("e", AT, EventType.DEFERRED, attempt=2, reply=GONE, tries=(DANE, BARE)),
            [
                "deferred, attempt 2",
                "  mx.example.net[192.0.2.1]:25, TLSv1.3 (dane, verified: x), at rcpt, 1.25 s: 550 5.1.1 no such user",
                "    offered DSN SIZE=1000 STARTTLS; used TLS_AES_256_GCM_SHA384",
                "  mx.example.net[192.0.2.1]:25, no TLS (by opportunistic), at rcpt: 550 5.1.1 no such user",
                "    offered SIZE, and no STARTTLS",
            ],
        ),
        (
            Event("e", AT, EventType.DEFERRED, attempt=1, reply=FORBIDDEN, tries=(SKIPPED, NOT_REACHED, ANYBODY, OLD)),
            [
                "deferred, attempt 1",
                "  mx.example.net:25, skipped by mta-sts: 451 4.7.5 forbidden (ours)",
                "  mx.example.net[192.0.2.1]:25, at connect: 451 4.4.1 refused (ours)",
                "  mx.example.net[192.0.2.1]:25, TLSv1.2 (opportunistic), at rcpt: 550 5.1.1 no such user",
                "    used ECDHE, the certificate was not looked at",
                "  mx.example.net[192.0.2.1]:25, no TLS (by require), at starttls: 550 5.1.1 no such user",
            ],
        ),
        (
            Event("e", AT, EventType.COMPLAINED, detail={"feedback_type": "abuse", "user_agent": "FBL/1"}),
            ["complained: abuse, reported by FBL/1"],
        ),
        (Event("e", AT, EventType.COMPLAINED, detail={"feedback_type": "abuse"}), ["complained: abuse"]),
        (Event("e", AT, EventType.SUPPRESSION_ADDED, detail=ON_LIST), ["suppression_added: complaint, abuse"]),
        (
            Event("e", AT, EventType.SUPPRESSED, reply=Reply.of(550, "5.7.1", "it bounced on 2026-11-01")),
            ["suppressed: 550 5.7.1 it bounced on 2026-11-01"],
        ),
        (Event("e", AT, EventType.EXPIRED, reply=Reply.of(450, "4.2.1", "later")), ["expired: 450 4.2.1 later"]),
        (
            Event("e", AT, EventType.DEFERRED, attempt=1, reply=GONE, duration=timedelta(seconds=2)),
            ["deferred, attempt 1, 2.00 s", "  no host was tried: 550 5.1.1 no such user"],
        ),
        (
            Event("e", AT, EventType.HELD, reply=GONE, detail={"reason": "suspended: x"}),
            ["held: suspended: x"],
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value.type),
)
def test_each_event_is_a_line_that_reads_well(event: Event, lines: list[str]) -> None:
    first, *more = _event_lines(event)
    assert [first.removeprefix("2026-11-22 12:00:00  "), *more] == lines
