"""The records that receivers look up: right, wrong and missing ones."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from mta.dkim.keys import SigningKey, generate_ed25519
from mta.doctor.finding import Finding, Verdict
from mta.doctor.records import Published, Records
from tests.doctor.names import FakeNames

OK, WARN, FAIL, SKIPPED = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.SKIPPED

KEY = SigningKey.parse("example.com", "e1", generate_ed25519())
OTHER = SigningKey.parse("example.com", "e1", generate_ed25519())
ADDRESS = "93.184.215.14"  # documentation addresses are not public ones
ELSEWHERE = "93.184.215.99"
HOST, BOUNCES = "mail.example.com", "bounces.example.com"
PUBLISHED = Published(HOST, ("example.com",), (BOUNCES,), (KEY,))


def right() -> FakeNames:
    """Everything as it should be."""
    return FakeNames(
        texts={
            BOUNCES: (f"v=spf1 a:{HOST} -all",),
            KEY.dns_name: (KEY.dns_record,),
            "_dmarc.example.com": ("v=DMARC1; p=none",),
        },
        hosts={BOUNCES: (HOST,)},
        at={HOST: (ADDRESS,)},
        back={ADDRESS: (HOST,)},
    )


Ask = Callable[[Records], Awaitable[Sequence[Finding]]]
ALL: dict[str, Ask] = {
    "resolver": Records.resolver,
    "hostname": Records.hostname,
    "reverse": Records.reverse,
    "return_paths": Records.return_paths,
    "spf": Records.spf,
    "dkim": Records.dkim,
    "dmarc": Records.dmarc,
}


@pytest.mark.parametrize("name", ALL)
async def test_what_is_right_is_ok(name: str) -> None:
    found = await ALL[name](Records(PUBLISHED, right(), lambda: (ADDRESS, "10.0.0.1")))
    assert [one.verdict for one in found] == [OK]


def alter(**changes: dict[str, tuple[str, ...]]) -> FakeNames:
    """The right ones with some changed."""
    names = right()
    for kind, entries in changes.items():
        getattr(names, kind).update(entries)
    return names


@pytest.mark.parametrize(
    ("name", "names", "verdict", "said"),
    [
        ("hostname", alter(at={HOST: ()}), FAIL, "has no address"),
        ("hostname", alter(at={HOST: (ELSEWHERE,)}), WARN, f"packets leave from {ADDRESS}"),
        ("reverse", alter(back={ADDRESS: ()}), FAIL, "has no PTR record"),
        ("reverse", alter(back={ADDRESS: ("x.example",)}), FAIL, "does not lead back"),
        (
            "reverse",
            alter(back={ADDRESS: ("x.example",)}, at={"x.example": (ADDRESS,)}),
            WARN,
            "is not the name we greet with",
        ),
        ("reverse", alter(at={HOST: ("10.0.0.1",)}), SKIPPED, "no public address"),
        ("return_paths", alter(hosts={BOUNCES: ()}), FAIL, "no MX record that leads anywhere"),
        ("return_paths", alter(hosts={BOUNCES: ()}, at={BOUNCES: (ADDRESS,)}), OK, "leads here"),
        ("return_paths", alter(hosts={BOUNCES: ("",)}), FAIL, "null MX"),
        (
            "return_paths",
            alter(hosts={BOUNCES: ("mx.example.org",)}, at={"mx.example.org": (ELSEWHERE,)}),
            WARN,
            "leads to mx.example.org, and not to this server",
        ),
        ("spf", alter(texts={BOUNCES: ()}), FAIL, f"does not exist for {ADDRESS}"),
        ("spf", alter(texts={BOUNCES: ("v=spf1 -all",)}), FAIL, f"refuses {ADDRESS}"),
        ("spf", alter(texts={BOUNCES: ("v=spf1 exists:%{i}.x ~all",)}), SKIPPED, "terms that are not judged"),
        ("dkim", alter(texts={KEY.dns_name: ()}), FAIL, "not published"),
        ("dkim", alter(texts={KEY.dns_name: (OTHER.dns_record,)}), FAIL, "another key"),
        ("dkim", alter(texts={KEY.dns_name: ("v=DKIM1; k=ed25519; p=",)}), FAIL, "revoked"),
        ("dkim", alter(texts={KEY.dns_name: ("v=DKIM1; p=!!",)}), FAIL, "another key"),
        ("dkim", alter(texts={KEY.dns_name: (KEY.dns_record, OTHER.dns_record)}), FAIL, "several"),
        ("dkim", alter(texts={KEY.dns_name: (f"{KEY.dns_record}; t=y:s",)}), WARN, "testing"),
        ("dmarc", alter(texts={"_dmarc.example.com": ()}), WARN, "no policy"),
        ("dmarc", alter(texts={"_dmarc.example.com": ("v=DMARC1; p=maybe",)}), FAIL, "p=maybe"),
        ("dmarc", alter(texts={"_dmarc.example.com": ("v=DMARC1; p=none",) * 2}), FAIL, "several"),
    ],
)
async def test_what_is_wrong_is_told(name: str, names: FakeNames, verdict: Verdict, said: str) -> None:
    (found,) = await ALL[name](Records(PUBLISHED, names, lambda: (ADDRESS,)))
    assert (found.verdict, said in found.what) == (verdict, True), found


@pytest.mark.parametrize("name", ["hostname", "reverse", "return_paths", "spf", "dkim", "dmarc"])
async def test_a_dns_that_does_not_tell_is_no_proof_of_anything(name: str) -> None:
    names = right()
    names.silent = {HOST, BOUNCES, ADDRESS, KEY.dns_name, "_dmarc.example.com"}
    (found,) = await ALL[name](Records(PUBLISHED, names, tuple))
    assert (found.verdict, "DNS does not tell" in found.what) == (WARN, True)


async def test_name_servers_that_do_not_answer_are_a_failure() -> None:
    (found,) = await Records(PUBLISHED, FakeNames(silent={HOST}), tuple).resolver()
    assert (found.verdict, "delivery.resolvers" in found.remedy) == (FAIL, True)


async def test_a_policy_of_the_domain_above_holds_for_one_below() -> None:
    published = replace(PUBLISHED, domains=("news.example.com",))
    (found,) = await Records(published, right(), tuple).dmarc()
    assert (found.verdict, found.where) == (OK, "_dmarc.example.com")


async def test_bounces_that_come_to_another_port_than_25_are_warned_of() -> None:
    (found,) = await Records(replace(PUBLISHED, inbound=(2525,)), right(), tuple).return_paths()
    assert (found.verdict, "inbound.listen has (2525,)" in found.what) == (WARN, True)


async def test_without_a_key_there_is_nothing_to_publish() -> None:
    (found,) = await Records(replace(PUBLISHED, keys=()), right(), tuple).dkim()
    assert found.verdict is SKIPPED
