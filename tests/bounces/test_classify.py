"""What replies mean, as the shipped rules have it."""

import re
from pathlib import Path

import pytest

from mta.bounces.classify import Classifier
from mta.bounces.quoted import quote
from mta.bounces.report import UNKNOWN, Classification, Hardness, Reason
from mta.bounces.rules import Rules
from mta.mail.reply import EnhancedStatus

TABLE = [
    tuple(cell.strip() for cell in line.rsplit("|", 2))
    for line in (Path(__file__).parent / "replies.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
ABOUT_US = {"reputation", "auth", "spam", "content", "policy", "rate_limited", "greylisted", "message_too_big"}


@pytest.fixture(scope="module")
def classifier(rules: Rules) -> Classifier:
    return Classifier(rules)


def classified(classifier: Classifier, reply: str) -> Classification:
    code = re.match(r"[45][0-9]{2}", reply)
    assert code
    return classifier.reply(int(code[0]), quote(reply).status, reply)


@pytest.mark.parametrize(("reply", "reasons", "hardness"), TABLE, ids=[row[0][:60] for row in TABLE])
def test_a_reply_means(reply: str, reasons: str, hardness: str, classifier: Classifier) -> None:
    meaning = classified(classifier, reply)
    assert meaning.reason in reasons.split(",")
    assert hardness in ("any", meaning.hardness)


def test_the_table_holds_every_reason() -> None:
    assert {reason for row in TABLE for reason in row[1].split(",")} == set(Reason)


@pytest.mark.parametrize("reply", [row[0] for row in TABLE if set(row[1].split(",")) <= ABOUT_US and " " in row[0]])
def test_what_speaks_of_us_is_never_hard_whatever_the_codes(reply: str, classifier: Classifier) -> None:
    text = reply.partition(" ")[2]
    for code, status in ((550, "5.1.1"), (551, "5.1.2"), (556, "5.1.10"), (550, None)):
        meaning = classifier.reply(code, EnhancedStatus.parse(status) if status else None, text)
        assert meaning.hardness is not Hardness.HARD


@pytest.mark.parametrize(
    ("code", "status", "reason", "hardness"),
    [
        (550, "5.1.1", Reason.BAD_MAILBOX, Hardness.HARD),
        (550, "5.1.2", Reason.BAD_DOMAIN, Hardness.HARD),
        (452, "4.2.2", Reason.MAILBOX_FULL, Hardness.SOFT),
        (552, "5.3.4", Reason.MESSAGE_TOO_BIG, Hardness.SOFT),
        (550, "5.7.1", Reason.POLICY, Hardness.SOFT),
        (550, "5.7.26", Reason.AUTH, Hardness.SOFT),
        (550, "5.7.620", Reason.REPUTATION, Hardness.SOFT),
        (550, "5.4.7", Reason.EXPIRED, Hardness.SOFT),
        (550, None, Reason.POLICY, Hardness.SOFT),
        (552, None, Reason.MAILBOX_FULL, Hardness.SOFT),
        (556, None, Reason.BAD_DOMAIN, Hardness.HARD),
        (421, None, Reason.NETWORK, Hardness.SOFT),
    ],
)
def test_codes_decide_where_words_are_unknown(
    code: int, status: str | None, reason: Reason, hardness: Hardness, classifier: Classifier
) -> None:
    parsed = EnhancedStatus.parse(status) if status else None
    assert classifier.reply(code, parsed, "zxq zxq") == Classification(reason, hardness)


def test_a_domain_that_cannot_be_found_for_now_is_not_hard(classifier: Classifier) -> None:
    text = "Host or domain name not found"
    assert classifier.reply(550, EnhancedStatus(5, 4, 4), text).hardness is Hardness.HARD
    assert classifier.reply(450, EnhancedStatus(4, 4, 4), text).hardness is Hardness.SOFT


def test_the_first_text_whose_words_are_known_decides(classifier: Classifier) -> None:
    assert classifier.reply(550, None, "zxq", "over quota", "user unknown").reason is Reason.MAILBOX_FULL


def test_without_code_and_words_nothing_is_known(classifier: Classifier) -> None:
    assert classifier.reply(None, None, "zxq") == UNKNOWN
