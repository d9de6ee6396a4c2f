"""Which recipients get one return path together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.address import Mailbox
from mta.mail.envelope import Recipient
from mta.mail.token import MAX_GROUPS
from mta.submission.groups import groups

MB = 1_000_000


def recipients(*addresses: str) -> list[Recipient]:
    return [Recipient(Mailbox.parse(one, utf8=True)) for one in addresses]


def relay(domain: str) -> str | None:
    return "relay:25" if domain.endswith(".example") else None


@pytest.mark.parametrize(
    ("addresses", "size", "found"),
    [
        (("a@x.net", "b@x.net"), 500_001, {0: 0, 1: 0}),
        (("a@x.net", "b@x.net"), 500_000, {}),
        (("a@x.net", "b@y.net"), 100 * MB, {}),
        (("a@x.net",), 100 * MB, {}),
        ((), 100 * MB, {}),
        (("a@x.net", "a@y.net", "b@x.net", "b@y.net", "c@y.net"), 400_000, {1: 0, 3: 0, 4: 0}),
        (("a@x.net", "a@y.net", "b@x.net", "b@y.net"), 600_000, {0: 0, 2: 0, 1: 1, 3: 1}),
        # the operator wants it, however small, and whatever the domains
        (("a@one.example", "b@two.example"), 1, {0: 0, 1: 0}),
        (("a@one.example", "b@x.net", "b@x.net"), 1, {}),
        (("a@one.example", "b@x.net", "c@two.example", "d@x.net"), MB, {0: 0, 2: 0, 1: 1, 3: 1}),
        # what needs SMTPUTF8 would take it from the others at a host without
        (("a@x.net", "ä@x.net", "b@x.net"), MB, {0: 0, 2: 0}),
    ],
)
def test_those_of_a_domain_share_above_a_size_and_those_of_a_relay_at_any(
    addresses: tuple[str, ...], size: int, found: dict[int, int]
) -> None:
    assert groups(recipients(*addresses), size, MB, relay) == found


@pytest.mark.parametrize(
    ("orcpt", "shares"),
    [
        (None, True),
        ("rfc822;b@x.net", True),
        ("RFC822;B@X.net", True),
        ("rfc822;list@x.net", False),
        ("utf-8;b@x.net", False),
        ("x400;whatever", False),
    ],
)
def test_whom_a_report_would_name_otherwise_has_its_own(orcpt: str | None, shares: bool) -> None:
    one, other = recipients("a@x.net", "c@x.net")
    named = Recipient(Mailbox.parse("b@x.net"), orcpt=orcpt)
    assert (1 in groups([one, named, other], MB, MB, relay)) is shares


def test_there_are_no_more_groups_than_have_a_name() -> None:
    many = recipients(*(f"{who}@d{number}.net" for number in range(MAX_GROUPS + 5) for who in "ab"))
    assert sorted(set(groups(many, MB, MB, relay).values())) == list(range(MAX_GROUPS))


@given(
    st.lists(st.sampled_from(["a@x.net", "b@x.net", "a@y.net", "b@z.example", "a@z.example"]), max_size=30),
    st.integers(0, 2 * MB),
)
def test_a_group_has_at_least_two_and_one_place_to_go(addresses: list[str], size: int) -> None:
    found = groups(recipients(*addresses), size, MB, relay)
    for number in set(found.values()):
        members = [addresses[place].partition("@")[2] for place, group in found.items() if group == number]
        assert len(members) > 1
        assert len(set(members)) == 1
