"""Which TLSA records apply to a host."""

import pytest

from mta.delivery.dane import MAX_RECORDS, Asked, Dane, DaneState, find, judge
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.tlsa import HostAnswer, TlsaAnswer, TlsaRecord

GOOD = TlsaRecord(3, 1, 1, bytes(32))
AUTHORITY = TlsaRecord(2, 1, 1, bytes(32))
USELESS = TlsaRecord(1, 1, 1, bytes(32))
HOST = "mx.example.net"
ASKED = Asked(HOST, 25, True, "example.com")


class Names:
    """A resolver that validates, made of a dictionary; what is not known does not exist."""

    def __init__(self, host: HostAnswer | Exception, **tlsa: TlsaAnswer | Exception) -> None:
        self._host = host
        self._tlsa = {name.replace("__", "."): answer for name, answer in tlsa.items()}
        self.asked: list[str] = []

    async def host(self, host: str) -> HostAnswer:
        if isinstance(self._host, Exception):
            raise self._host
        return self._host

    async def tlsa(self, name: str) -> TlsaAnswer:
        self.asked.append(name)
        answer = self._tlsa.get(name.partition("._tcp.")[2], NoSuchDomain(name))
        if isinstance(answer, Exception):
            raise answer
        return answer


SIGNED = HostAnswer(HOST, secure=True, name_secure=True)
ALIAS = HostAnswer("real.example.org", secure=True, name_secure=True)
UNSIGNED_TARGET = HostAnswer("real.example.org", secure=False, name_secure=True)
UNSIGNED = HostAnswer(HOST, secure=False, name_secure=False)
FOUND = TlsaAnswer((GOOD,), secure=True)
TROUBLE = DnsTrouble("SERVFAIL")


@pytest.mark.parametrize(
    ("names", "state", "base"),
    [
        (Names(SIGNED, mx__example__net=FOUND), DaneState.USABLE, HOST),
        (Names(SIGNED), DaneState.ABSENT, ""),
        (Names(SIGNED, mx__example__net=TlsaAnswer()), DaneState.ABSENT, ""),
        # not signed, or signed and validated by nobody: as if there were none
        (Names(SIGNED, mx__example__net=TlsaAnswer((GOOD,), secure=False)), DaneState.ABSENT, ""),
        (Names(SIGNED, mx__example__net=TlsaAnswer((USELESS,), secure=True)), DaneState.UNUSABLE, HOST),
        (Names(SIGNED, mx__example__net=TlsaAnswer((USELESS, GOOD), secure=True)), DaneState.USABLE, HOST),
        (Names(SIGNED, mx__example__net=TROUBLE), DaneState.TROUBLE, ""),
        (Names(TROUBLE), DaneState.TROUBLE, ""),
        (Names(NoSuchDomain(HOST)), DaneState.ABSENT, ""),
        # an alias: the name at its end first, then its own
        (Names(ALIAS, real__example__org=FOUND, mx__example__net=FOUND), DaneState.USABLE, "real.example.org"),
        (Names(ALIAS, mx__example__net=FOUND), DaneState.USABLE, HOST),
        (Names(ALIAS, real__example__org=TlsaAnswer((GOOD,)), mx__example__net=FOUND), DaneState.USABLE, HOST),
        (Names(ALIAS, real__example__org=TROUBLE, mx__example__net=FOUND), DaneState.TROUBLE, ""),
        # a signed alias of an unsigned name: only its own
        (Names(UNSIGNED_TARGET, real__example__org=FOUND, mx__example__net=FOUND), DaneState.USABLE, HOST),
        (Names(UNSIGNED_TARGET, real__example__org=FOUND), DaneState.ABSENT, ""),
        (Names(UNSIGNED, mx__example__net=FOUND), DaneState.ABSENT, ""),
    ],
)
async def test_what_dns_says_is_judged(names: Names, state: DaneState, base: str) -> None:
    dane = await find(ASKED, names)
    assert (dane.state, dane.base) == (state, base)
    assert dane.why or state is DaneState.USABLE


async def test_hosts_of_unsigned_mx_records_are_left_alone() -> None:
    names = Names(SIGNED, mx__example__net=FOUND)
    assert (await find(Asked(HOST, 25, False, "example.com"), names)).state is DaneState.ABSENT
    assert not names.asked


async def test_nothing_is_asked_at_an_unsigned_host() -> None:
    names = Names(UNSIGNED, mx__example__net=TROUBLE)
    assert (await find(ASKED, names)).state is DaneState.ABSENT
    assert not names.asked


async def test_the_name_follows_the_port() -> None:
    names = Names(SIGNED)
    await find(Asked(HOST, 2525, True, "example.com"), names)
    assert names.asked == [f"_2525._tcp.{HOST}"]


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        (ASKED, SIGNED, (HOST, "example.com")),
        (ASKED, ALIAS, ("real.example.org", "example.com")),
        (Asked(HOST, 25, True, "example.com", "example.org"), SIGNED, (HOST, "example.com", "example.org")),
        (Asked(HOST, 25, True), SIGNED, (HOST,)),
        (Asked(HOST, 25, True), ALIAS, ("real.example.org", HOST)),
    ],
)
async def test_a_certificate_may_have_these_names(asked: Asked, answer: HostAnswer, expected: tuple[str, ...]) -> None:
    found = TlsaAnswer((AUTHORITY,), secure=True)
    names = Names(answer, mx__example__net=found, real__example__org=found)
    assert (await find(asked, names)).names == expected


def test_usage_3_knows_no_domain_so_that_domains_share_their_host() -> None:
    assert judge((GOOD,), HOST, (HOST, "example.com")) == judge((GOOD,), HOST, (HOST, "example.org"))
    assert judge((GOOD, AUTHORITY), HOST, (HOST, "example.com")).names == (HOST, "example.com")


def test_records_stand_in_one_order_so_that_equal_demands_are_equal() -> None:
    one, other = judge((AUTHORITY, GOOD), HOST, ()), judge((GOOD, AUTHORITY), HOST, ())
    assert one == other
    assert one.records == (GOOD, AUTHORITY)


def test_useless_records_are_kept_for_the_report() -> None:
    assert judge((USELESS,), HOST, ()).records == (USELESS,)


def test_too_many_records_are_cut() -> None:
    many = tuple(TlsaRecord(3, 1, 1, number.to_bytes(32)) for number in range(MAX_RECORDS + 1))
    assert len(judge(many, HOST, ()).records) == MAX_RECORDS


def test_without_a_word_dane_is_absent() -> None:
    assert Dane().state is DaneState.ABSENT
