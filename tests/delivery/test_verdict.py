"""The rules of an attempt, as a table."""

import pytest

from mta.delivery.verdict import Decision, Stage, Verdict, decide
from mta.mail.reply import Reply


@pytest.mark.parametrize("code", [220, 354, 421, 450, 550])
@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("stage", ["connect", "greeting", "ehlo", "starttls", "auth"])
def test_before_mail_everything_leads_to_the_next_host(stage: str, remote: bool, code: int) -> None:
    assert decide(Verdict(Stage(stage), Reply(code, None, ""), remote)) is Decision.NEXT_HOST


@pytest.mark.parametrize(
    ("stage", "code", "remote", "expected"),
    [
        ("mail", 421, True, Decision.NEXT_HOST),
        ("mail", 450, True, Decision.DEFERRED),
        ("mail", 451, False, Decision.NEXT_HOST),
        ("mail", 550, True, Decision.BOUNCED),
        ("mail", 552, False, Decision.BOUNCED),
        ("rcpt", 421, True, Decision.NEXT_HOST),
        ("rcpt", 450, True, Decision.DEFERRED),
        ("rcpt", 451, False, Decision.NEXT_HOST),
        ("rcpt", 550, True, Decision.BOUNCED),
        ("data", 421, True, Decision.DEFERRED),
        ("data", 451, False, Decision.DEFERRED),
        ("data", 554, True, Decision.BOUNCED),
        ("dot", 250, True, Decision.DELIVERED),
        ("dot", 251, True, Decision.DELIVERED),
        ("dot", 250, False, Decision.DEFERRED),
        ("dot", 354, False, Decision.DEFERRED),
        ("dot", 421, True, Decision.DEFERRED),
        ("dot", 451, False, Decision.DEFERRED),
        ("dot", 452, True, Decision.DEFERRED),
        ("dot", 554, True, Decision.BOUNCED),
        ("data", 250, True, Decision.DEFERRED),
    ],
)
def test_from_mail_on_stage_and_reply_decide(stage: str, code: int, remote: bool, expected: Decision) -> None:
    assert decide(Verdict(Stage(stage), Reply(code, None, ""), remote)) is expected
