"""The states of a delivery: which may follow which, and which are the end."""

from datetime import UTC, datetime

import pytest

from mta.mail.address import Mailbox
from mta.mail.envelope import Recipient
from mta.queue.model import MOVES, Delivery, SiteRest, State, unreachable_name

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
FINAL = {State.DELIVERED, State.BOUNCED, State.EXPIRED, State.SUPPRESSED, State.CANCELLED}


@pytest.mark.parametrize("state", list(State))
def test_a_state_is_final_or_something_is_still_to_be_done(state: State) -> None:
    assert state.is_final == (state in FINAL)


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_its_moves_and_never_moves_to_itself(state: State) -> None:
    assert state not in MOVES[state]


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_final_stays_but_for_a_report_that_comes_late(state: State) -> None:
    assert MOVES[state] == (frozenset({State.BOUNCED}) if state is State.DELIVERED else frozenset())


def test_every_state_but_the_first_can_be_reached_and_the_end_from_everywhere() -> None:
    reached = {State.QUEUED}
    while (more := reached.union(*(MOVES[state] for state in reached))) != reached:
        reached = more
    assert reached == set(State)
    for state in set(State) - FINAL:
        assert MOVES[state] & FINAL


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (State.QUEUED, State.ACTIVE, True),
        (State.QUEUED, State.DELIVERED, False),
        (State.QUEUED, State.BOUNCED, False),
        (State.ACTIVE, State.QUEUED, True),
        (State.HELD, State.QUEUED, True),
        (State.HELD, State.ACTIVE, False),
        (State.HELD, State.DELIVERED, False),
        (State.BOUNCED, State.QUEUED, False),
        (State.CANCELLED, State.QUEUED, False),
        (State.DELIVERED, State.QUEUED, False),
    ],
)
def test_nothing_is_delivered_or_bounced_without_a_lease(before: State, after: State, allowed: bool) -> None:
    assert (after in MOVES[before]) == allowed


@pytest.mark.parametrize(
    ("state", "name"), [(State.QUEUED, "queued"), (State.EXPIRED, "expired"), (State.SUPPRESSED, "suppressed")]
)
def test_states_are_stored_and_shown_by_their_names(state: State, name: str) -> None:
    assert f"{state}" == name


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        (unreachable_name("example.net"), "example.net"),
        ("example.net", None),
        ("domain.example", None),
        ("relay.example:25", None),
        ("/run/domain dovecot/lmtp", None),
        ("google", None),
    ],
)
def test_the_rest_of_a_domain_is_not_mistaken_for_that_of_a_site(name: str, domain: str | None) -> None:
    assert SiteRest(name, NOW, 1, "timed out").domain == domain


def test_a_delivery_goes_to_its_recipients_domain() -> None:
    recipient = Recipient(Mailbox.parse("b@München.example", utf8=True))
    assert Delivery("d", "m", recipient, State.QUEUED, NOW, None).domain == "xn--mnchen-3ya.example"
