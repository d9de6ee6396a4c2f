"""Every refusal that the listener can give has a word of the closed set that metrics know."""

import pytest

from mta.mail import failures
from mta.mail.reply import Reply
from mta.observe.metrics import OTHER, REJECTIONS
from mta.submission.counts import reason_of

REFUSALS = [reply for reply in vars(failures).values() if isinstance(reply, Reply) and not reply.is_positive]


@pytest.mark.parametrize("reply", REFUSALS, ids=str)
def test_a_refusal_is_counted_under_a_known_word(reply: Reply) -> None:
    assert reason_of(reply) in REJECTIONS | {OTHER}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (failures.BAD_CREDENTIALS, "auth"),
        (failures.sender_not_yours("example.net", "app"), "sender"),
        (failures.bad_recipient("x"), "recipient"),
        (failures.NO_SPACE, "space"),
        (failures.STORE_UNAVAILABLE, "store"),
        (failures.internal("1"), "internal"),
        (failures.UNKNOWN_COMMAND, "syntax"),
        (failures.TOO_LARGE, "size"),
    ],
)
def test_the_word_says_what_was_wrong(reply: Reply, reason: str) -> None:
    assert reason_of(reply) == reason
