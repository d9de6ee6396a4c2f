"""The envelope's words are those of the protocol, for they are stored and compared as they came."""

from enum import StrEnum

import pytest

from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import DEFAULT_NOTIFY, BodyType, Envelope, Notify, Recipient, Return


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (BodyType, {"7BIT", "8BITMIME", "BINARYMIME"}),
        (Notify, {"NEVER", "SUCCESS", "FAILURE", "DELAY"}),
        (Return, {"FULL", "HDRS"}),
    ],
)
def test_each_parameter_has_the_words_of_its_rfc(kind: type[StrEnum], words: set[str]) -> None:
    assert {str(word) for word in kind} == words


def test_a_recipient_whose_client_said_nothing_is_reported_on_failure_and_delay() -> None:
    recipient = Recipient(Mailbox.parse("b@example.net"))
    assert recipient.notify == DEFAULT_NOTIFY == {Notify.FAILURE, Notify.DELAY}
    assert recipient.orcpt is None


def test_an_envelope_asks_for_nothing_by_itself_and_never_changes() -> None:
    envelope = Envelope(ReversePath(None), (Recipient(Mailbox.parse("b@example.net")),))
    assert (envelope.body_type, envelope.smtputf8, envelope.requiretls) == (BodyType.SEVEN_BIT, False, False)
    assert (envelope.ret, envelope.envid) == (None, None)
    with pytest.raises(AttributeError, match="immutable"):
        envelope.smtputf8 = True  # type: ignore[misc]  # that it cannot be set is what is tested
