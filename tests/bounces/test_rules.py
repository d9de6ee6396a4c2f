"""Reading rules: what is understood, and what is refused with its place."""

import pytest

from mta.bounces.report import Hardness, Reason
from mta.bounces.rules import Rules, RulesError


def test_hardness_follows_the_reason_unless_given() -> None:
    rules = Rules.parse(
        """
        [[rule]]
        reason = "bad_mailbox"
        text = ["gone"]
        [[rule]]
        reason = "bad_mailbox"
        hardness = "soft"
        text = ["away"]
        [[rule]]
        reason = "spam"
        text = ["spam"]
        [[rule]]
        reason = "bad_domain"
        temporary = "soft"
        status = ["*.1.2"]
        """
    )
    assert [rule.hardness for rule in rules.texts] == [Hardness.HARD, Hardness.SOFT, Hardness.SOFT]
    (domain,) = rules.codes
    assert (domain.hardness, domain.temporary) == (Hardness.HARD, Hardness.SOFT)


@pytest.mark.parametrize(
    ("condition", "code", "status", "text", "holds"),
    [
        ('text = ["full"]', 550, "", "is full", True),
        ('text = ["full"]\nunless = ["not full"]', 550, "", "is not full", False),
        ('status = ["5.7.*"]', 550, "5.7.26", "", True),
        ('status = ["5.7.*"]', 550, "4.7.26", "", False),
        ('status = ["*.7.1"]', 450, "4.7.1", "", True),
        ('status = ["5.7.606-649"]', 550, "5.7.620", "", True),
        ('status = ["5.7.606-649"]', 550, "5.7.650", "", False),
        ('status = ["5.7.1"]', 550, "", "", False),
        ('text = ["x"]\nstatus = [""]', 550, "", "x", True),
        ("code = [552]", 552, "", "", True),
        ("code = [5]", 552, "", "", True),
        ("code = [5]", 452, "", "", False),
        ("code = [5]", None, "", "", False),
    ],
)
def test_a_rule_holds(condition: str, code: int | None, status: str, text: str, holds: bool) -> None:
    rules = Rules.parse(f'[[rule]]\nreason = "policy"\n{condition}')
    (rule,) = rules.texts + rules.codes
    assert rule.reason is Reason.POLICY
    assert rule.holds(code, status, text) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[rule]", "not TOML"),
        ('[[rule]]\ntext = ["x"]', "rule 1: '' is not a valid Reason"),
        ('[[rule]]\nreason = "bad"\ntext = ["x"]', "rule 1: 'bad' is not a valid Reason"),
        ('[[rule]]\nreason = "spam"\nhardness = "firm"\ntext = ["x"]', "rule 1: 'firm'"),
        ('[[rule]]\nreason = "spam"', "rule 1: it has no condition"),
        ('[[rule]]\nreason = "spam"\ntext = "x"', "rule 1: text must be a list"),
        ('[[rule]]\nreason = "spam"\ntext = [""]', "rule 1: text: '' has no words"),
        ('[[rule]]\nreason = "spam"\nstatus = ["5.7"]', "rule 1: '5.7' is no enhanced"),
        ('[[rule]]\nreason = "spam"\ncode = [250]', "rule 1: code must be"),
        ('[[rule]]\nreason = "spam"\ncode = [true]', "rule 1: code must be"),
        ('[[rule]]\nreason = "spam"\ntexts = ["x"]', "rule 1: 'texts' is unknown"),
        ('[rule]\nreason = "spam"', r"must be written as \[\[rule\]\]"),
        ('[notice]\nsender = ["x"]', "notice: 'sender' is unknown"),
        ('[[answer]]\nsubjects = ["x"]', "answer 1: reason is missing"),
        ("[unsubscribe]\nwords = []", "unsubscribe: 'words' is unknown"),
        ("[other]\nx = 1", "the file: 'other' is unknown"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_with_their_place(text: str, why: str) -> None:
    with pytest.raises(RulesError, match=why):
        Rules.parse(text)


def test_the_shipped_rules_can_be_read(rules: Rules) -> None:
    assert {rule.reason for rule in rules.texts + rules.codes} == set(Reason)
    assert {rule.reason for rule in rules.texts if rule.hardness is Hardness.HARD} == {
        Reason.BAD_MAILBOX,
        Reason.BAD_DOMAIN,
    }
