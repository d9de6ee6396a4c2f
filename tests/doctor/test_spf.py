"""What SPF records say of our addresses."""

import pytest

from mta.doctor.spf import Spf, SpfReader
from tests.doctor.names import FakeNames

NAMES = FakeNames(
    hosts={"example.com": ("mx.example.com",)},
    at={
        "example.com": ("198.51.100.1",),
        "mx.example.com": ("198.51.100.2", "2001:db8::2"),
        "mail.example.com": ("203.0.113.5",),
    },
)


@pytest.mark.parametrize(
    ("record", "address", "said"),
    [
        ("v=spf1 -all", "203.0.113.5", Spf.FAIL),
        ("v=spf1 ~all", "203.0.113.5", Spf.SOFTFAIL),
        ("v=spf1 ?all", "203.0.113.5", Spf.NEUTRAL),
        ("v=spf1", "203.0.113.5", Spf.NEUTRAL),
        ("v=spf1 all", "203.0.113.5", Spf.PASS),
        ("v=spf1 ip4:203.0.113.5 -all", "203.0.113.5", Spf.PASS),
        ("v=spf1 ip4:203.0.113.0/24 -all", "203.0.113.5", Spf.PASS),
        ("v=spf1 ip4:203.0.113.0/30 -all", "203.0.113.5", Spf.FAIL),
        ("v=spf1 -ip4:203.0.113.5 +all", "203.0.113.5", Spf.FAIL),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::9", Spf.PASS),
        ("v=spf1 ip4:nonsense -all", "203.0.113.5", Spf.FAIL),
        ("V=SPF1 A -ALL", "198.51.100.1", Spf.PASS),
        ("v=spf1 a:mail.example.com -all", "203.0.113.5", Spf.PASS),
        ("v=spf1 a:mail.example.com/24 -all", "203.0.113.77", Spf.PASS),
        ("v=spf1 a/30 -all", "198.51.100.2", Spf.PASS),
        ("v=spf1 a//64 -all", "198.51.100.2", Spf.FAIL),
        ("v=spf1 mx//64 -all", "2001:db8::77", Spf.PASS),
        ("v=spf1 mx/24//64 -all", "198.51.100.77", Spf.PASS),
        ("v=spf1 mx -all", "2001:db8::2", Spf.PASS),
        ("v=spf1 include:_spf.example.net -all", "192.0.2.1", Spf.PASS),
        ("v=spf1 include:_spf.example.net -all", "192.0.2.200", Spf.FAIL),
        ("v=spf1 include:nothing.example -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf1 include:loop.example -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf1 redirect=_spf.example.net", "192.0.2.1", Spf.PASS),
        ("v=spf1 redirect=_spf.example.net", "192.0.2.200", Spf.FAIL),
        ("v=spf1 exp=why.example -all", "192.0.2.1", Spf.FAIL),
        ("v=spf1 exists:%{i}.example -all", "192.0.2.1", Spf.UNKNOWN),
        ("v=spf1 ptr -all", "192.0.2.1", Spf.UNKNOWN),
        ("v=spf1 moon:x -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf10 +all", "192.0.2.1", Spf.NONE),
        ("something else", "192.0.2.1", Spf.NONE),
    ],
)
async def test_a_record_is_read_as_receivers_read_it(record: str, address: str, said: Spf) -> None:
    names = FakeNames(
        texts={
            "example.com": (record,),
            "_spf.example.net": ("v=spf1 ip4:192.0.2.0/25 -all",),
            "loop.example": ("v=spf1 include:loop.example -all",),
        },
        hosts=NAMES.hosts,
        at=NAMES.at,
    )
    assert await SpfReader(names, address).of("example.com") is said


async def test_two_records_are_none() -> None:
    names = FakeNames(texts={"example.com": ("v=spf1 +all", "v=spf1 -all")})
    assert await SpfReader(names, "192.0.2.1").of("example.com") is Spf.PERMERROR


async def test_more_than_ten_lookups_are_an_error() -> None:
    names = FakeNames(texts={"example.com": ("v=spf1 " + "a:x.example " * 11 + "+all",)})
    assert await SpfReader(names, "192.0.2.1").of("example.com") is Spf.PERMERROR
