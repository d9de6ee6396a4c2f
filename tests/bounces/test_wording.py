"""Which words people read for which reply."""

from datetime import timedelta

import pytest

from mta.bounces.wording import explain, span
from mta.mail import failures
from mta.mail.reply import Reply


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply.of(550, "5.1.1", "x"), "no mailbox with this address"),
        (Reply.of(452, "4.2.2", "x"), "mailbox is full"),
        (Reply.of(550, "5.7.1", "x"), "perhaps as spam"),
        (Reply.of(550, "5.7.26", "x"), "really comes from your domain"),
        (failures.NO_SUCH_DOMAIN, "does not exist"),
        (failures.NULL_MX, "takes no mail at all"),
        (failures.NO_CONNECTION, "could not be reached"),
        (failures.REMOTE_TOO_LARGE, "larger than"),
        (failures.NO_SMTPUTF8, "letters beyond plain ASCII"),
        (failures.TLS_FAILED, "encrypted"),
        # an unknown detail: the subject's words
        (Reply.of(550, "5.1.99", "x"), "wrong with the recipient's address"),
        # no enhanced code: the code's words
        (Reply(552, None, "x"), "too large, or the recipient's mailbox is full"),
        (Reply(550, None, "x"), "refused the message"),
        # a code that says nothing
        (Reply.of(451, "4.0.0", "x"), "had a problem of its own"),
        (Reply.of(550, "5.0.0", "x"), "refused the message"),
    ],
)
def test_the_reply_chooses_the_words(reply: Reply, words: str) -> None:
    assert words in explain(reply).why


@pytest.mark.parametrize("subject", range(9))
@pytest.mark.parametrize("detail", [0, 1, 7, 26, 999])
def test_every_reply_has_words_and_advice(subject: int, detail: int) -> None:
    words = explain(Reply.of(554, f"5.{subject}.{detail}", "x"))
    assert words.why.endswith(".")
    assert words.advice.endswith(".")


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=-5), "less than a minute"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(seconds=90), "a minute"),
        (timedelta(minutes=30, seconds=30), "30 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=4, minutes=59), "4 hours"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=4, hours=5), "4 days"),
    ],
)
def test_a_span_is_said_as_people_say_it(length: timedelta, text: str) -> None:
    assert span(length) == text
