"""The doorman's table: whose the door is, and who is sent elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.inbound.rules import Addressee, Desk, Doorman, Feedback, Letter, ReturnPath, SharedPath
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.mail.token import GroupPath, Keyring, ReturnPaths
from tests.fakes.clock import START

DELIVERY = "01abcdefghjkmnpq"
OLD = Keyring.new(bytes(32), START)
BOTH = OLD.with_new(b"\1" * 32, START)
DOMAINS = frozenset({"bounces.own.example", "b.other.example"})
FEEDBACK = Mailbox("FBL", "feedback.own.example")
DOORMAN = Doorman(ReturnPaths(BOTH), lambda: DOMAINS, FEEDBACK, "Mail.own.example")
TOKEN = ReturnPaths(BOTH).make(DELIVERY)
SHARED = ReturnPaths(BOTH).make_shared(DELIVERY, 7)
OLD_TOKEN = ReturnPaths(OLD).make(DELIVERY)
FOREIGN = ReturnPaths(Keyring.new(b"\2" * 32, START)).make(DELIVERY)
NOBODY, ELSEWHERE = failures.NO_SUCH_RECIPIENT, failures.RELAY_DENIED


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        # return paths
        (f"<{TOKEN}@bounces.own.example>", ReturnPath(DELIVERY)),
        (f"<{TOKEN}@b.other.example>", ReturnPath(DELIVERY)),
        (f"<{OLD_TOKEN}@bounces.own.example>", ReturnPath(DELIVERY)),
        (f"<{TOKEN.upper()}@BOUNCES.Own.Example>", ReturnPath(DELIVERY)),
        (f"<{TOKEN.capitalize()}@bounces.own.example>", ReturnPath(DELIVERY)),
        (f"<{SHARED}@bounces.own.example>", SharedPath(GroupPath(DELIVERY, SHARED))),
        (f"<{SHARED.upper()}@bounces.own.example>", SharedPath(GroupPath(DELIVERY, SHARED))),
        (f"<{SHARED}@own.example>", ELSEWHERE),
        (f"<{SHARED[:-1]}@bounces.own.example>", NOBODY),
        (f"<b{SHARED[1:]}@bounces.own.example>", NOBODY),
        (f"<g{TOKEN[1:]}@bounces.own.example>", NOBODY),
        (f"<{FOREIGN}@bounces.own.example>", NOBODY),
        (f"<{TOKEN[:-1]}@bounces.own.example>", NOBODY),
        (f"<{TOKEN[1:]}@bounces.own.example>", NOBODY),
        (f"<{TOKEN}0@bounces.own.example>", NOBODY),
        (f"<{TOKEN[:-1]}{'0' if TOKEN[-1] != '0' else '1'}@bounces.own.example>", NOBODY),
        (f"<b00{'0' * 16}{TOKEN[19:]}@bounces.own.example>", NOBODY),
        (f"<x{TOKEN[1:]}@bounces.own.example>", NOBODY),
        (f"<bounce+{TOKEN}@bounces.own.example>", NOBODY),
        # a token is no pass to other domains, our own names among them
        (f"<{TOKEN}@own.example>", ELSEWHERE),
        (f"<{TOKEN}@example.net>", ELSEWHERE),
        (f"<{TOKEN}@x.bounces.own.example>", ELSEWHERE),
        (f"<{TOKEN}@mail.own.example>", NOBODY),
        # feedback
        ("<FBL@feedback.own.example>", Feedback()),
        ("<fbl@Feedback.own.example>", Feedback()),
        ("<fbl@bounces.own.example>", NOBODY),
        ("<other@feedback.own.example>", ELSEWHERE),
        # letters
        ("<postmaster>", Letter(Desk.POSTMASTER)),
        ("<PostMaster>", Letter(Desk.POSTMASTER)),
        ("<postmaster@bounces.own.example>", Letter(Desk.POSTMASTER)),
        ("<POSTMASTER@b.other.example>", Letter(Desk.POSTMASTER)),
        ("<postmaster@mail.own.example>", Letter(Desk.POSTMASTER)),
        ("<Abuse@bounces.own.example>", Letter(Desk.ABUSE)),
        ("<abuse@mail.own.example>", Letter(Desk.ABUSE)),
        ("<postmaster@example.net>", ELSEWHERE),
        ("<abuse@own.example>", ELSEWHERE),
        ("<webmaster@bounces.own.example>", NOBODY),
        # relay attempts in old notations
        ("<victim%example.net@bounces.own.example>", NOBODY),
        ("<example.net!victim@bounces.own.example>", NOBODY),
        ('<"victim@example.net"@bounces.own.example>', NOBODY),
        ("<victim@example.net>", ELSEWHERE),
    ],
)
def test_each_recipient_is_ours_or_is_refused(path: str, answer: Addressee | Reply) -> None:
    assert DOORMAN.admit(path, utf8=False) == answer


@pytest.mark.parametrize(
    "path",
    ["<>", "<abuse>", "<a@>", "<@own.example:abuse@bounces.own.example>", "<postmaster@[127.0.0.1]>", "<é@x.example>"],
)
def test_what_is_no_forward_path_is_a_mistake_of_syntax(path: str) -> None:
    answer = DOORMAN.admit(path, utf8=False)
    assert isinstance(answer, Reply)
    assert str(answer).startswith("501 5.1.3 ")


def test_letters_beyond_ascii_that_fold_into_ours_are_not_ours() -> None:
    # the Kelvin sign and the long s become `k` and `s` in lower and upper case
    for path in (
        "<po\u017ftmaster@bounces.own.example>",
        "<abu\u017fe@bounces.own.example>",
        "<\u212a@b.other.example>",
    ):
        assert DOORMAN.admit(path, utf8=True) == NOBODY


def test_a_retired_key_proves_nothing_any_more() -> None:
    doorman = Doorman(ReturnPaths(BOTH), lambda: DOMAINS, FEEDBACK, "mail.own.example")
    doorman.replace_keys(ReturnPaths(Keyring(BOTH.keys[1:])))
    assert doorman.admit(f"<{OLD_TOKEN}@bounces.own.example>", utf8=False) == NOBODY
    assert doorman.admit(f"<{TOKEN}@bounces.own.example>", utf8=False) == ReturnPath(DELIVERY)


def test_other_domains_and_another_feedback_address_hold_from_the_next_recipient() -> None:
    domains = {"bounces.own.example"}
    doorman = Doorman(ReturnPaths(BOTH), lambda: frozenset(domains), FEEDBACK, "mail.own.example")
    assert doorman.admit("<abuse@new.example>", utf8=False) == ELSEWHERE
    domains.add("new.example")
    doorman.replace_feedback_address(Mailbox("arf", "new.example"))
    assert doorman.admit("<abuse@new.example>", utf8=False) == Letter(Desk.ABUSE)
    assert doorman.admit("<arf@new.example>", utf8=False) == Feedback()
    assert doorman.admit("<fbl@feedback.own.example>", utf8=False) == ELSEWHERE


@given(st.text(max_size=80), st.booleans())
def test_any_text_gets_an_answer_and_only_a_token_is_a_return_path(text: str, utf8: bool) -> None:
    for path in (text, f"<{text}>", f"<{text}@bounces.own.example>"):
        assert not isinstance(DOORMAN.admit(path, utf8=utf8), ReturnPath)
