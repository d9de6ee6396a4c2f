"""Reading MTA-STS records and policies."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.mta_sts import MAX_AGE, MAX_POLICY, KeptPolicy, Mode, Policy, parse_txt
from tests.fakes.clock import START

WHOLE = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
WEEK = timedelta(days=7)
POLICY = Policy(Mode.ENFORCE, ("mail.example.com", "*.example.net"), WEEK)


def _with(**lines: str) -> bytes:
    fields = {"version": "STSv1", "mode": "enforce", "mx": "mx.example.com", "max_age": "60", **lines}
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value != "-").encode()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (WHOLE, POLICY),
        (WHOLE.replace(b"\r\n", b"\n"), POLICY),
        (WHOLE.removesuffix(b"\r\n"), POLICY),
        (WHOLE.replace(b": ", b":"), POLICY),
        (WHOLE.replace(b"\r\n", b"  \r\n"), POLICY),
        (WHOLE.replace(b"mail.example.com", b"MAIL.example.COM."), POLICY),
        (WHOLE + b"\r\n", POLICY),
        (WHOLE + b"new_key: anything = at; all\r\n", POLICY),
        (WHOLE + "note: Grüße\r\n".encode(), POLICY),
        # of what may stand once, the first counts
        (WHOLE + b"mode: none\r\nmax_age: 1\r\nversion: STSv2\r\n", POLICY),
        (WHOLE + b"mx: mail.example.com\r\n", POLICY),
        (_with(mode="none", mx="-"), Policy(Mode.NONE, (), timedelta(seconds=60))),
        (_with(mode="testing"), Policy(Mode.TESTING, ("mx.example.com",), timedelta(seconds=60))),
        (_with(max_age="0"), Policy(Mode.ENFORCE, ("mx.example.com",), timedelta(0))),
        (_with(max_age="9999999999"), Policy(Mode.ENFORCE, ("mx.example.com",), MAX_AGE)),
    ],
)
def test_a_policy_is_read(octets: bytes, expected: Policy) -> None:
    assert Policy.parse(octets) == expected


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<!doctype html>\n<title>mta-sts: none</title>",
        _with(version="-"),
        _with(version="STSv2"),
        _with(mode="-"),
        _with(mode="Enforce"),
        _with(mode="reject"),
        _with(mx="-"),
        _with(mx=""),
        _with(mx="*"),
        _with(mx="*.*.example.com"),
        _with(mx="mx*.example.com"),
        _with(mx="mx.example.com other.example.com"),
        _with(mx="mx..example.com"),
        _with(mx="bücher.example"),
        _with(mx=f"{'a' * 64}.example.com"),
        _with(max_age="-"),
        _with(max_age=""),
        _with(max_age="-1"),
        _with(max_age="1e3"),
        _with(max_age="12345678901"),
        _with(max_age="\u0661\u0662"),
        WHOLE + b"no colon\r\n",
        WHOLE + b"\xff\xfe: x\r\n",
        pytest.param(WHOLE + b"a: " + b"x" * MAX_POLICY, id="too long"),
    ],
)
def test_what_is_no_policy_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"policy|version|mode|max_age|mx|host|utf-8"):
        Policy.parse(octets)


@given(st.binary(max_size=200) | st.lists(st.sampled_from(WHOLE.split(b"\r\n")), max_size=9).map(b"\n".join))
def test_any_octets_are_a_policy_or_refused(octets: bytes) -> None:
    try:
        policy = Policy.parse(octets)
    except ValueError:
        return
    assert Policy.parse("\n".join(policy.lines()).encode()) == policy


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "MAIL.Example.com.", True),
        ("mail.example.com", "mx.example.com", False),
        ("mail.example.com", "a.mail.example.com", False),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "a.mail.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "mailexample.com", False),
        ("*.example.com", "", False),
    ],
)
def test_hosts_are_matched(pattern: str, host: str, allowed: bool) -> None:
    assert Policy(Mode.ENFORCE, (pattern,), WEEK).allows(host) == allowed


@pytest.mark.parametrize(
    ("texts", "id"),
    [
        (("v=STSv1; id=20160831085700Z;",), "20160831085700Z"),
        (("v=STSv1; id=1",), "1"),
        (("v=STSv1;id=1;",), "1"),
        (("v=STSv1 ; id=1 ; other=some thing;",), "1"),
        (("v=spf1 -all", "v=STSv1; id=1;"), "1"),
        (("v=STSv1x; id=2", "v=STSv1; id=1;"), "1"),
        ((), None),
        (("v=spf1 -all",), None),
        (("v=STSv1; id=1;", "v=STSv1; id=2;"), None),
        (("v=STSv1; id=1;", "v=STSv1; id=1;"), None),
        (("v=STSv1;",), None),
        (("v=STSv1",), None),
        (("v=STSv1; id=;",), None),
        (("v=STSv1; id=a-b;",), None),
        ((f"v=STSv1; id={'1' * 33};",), None),
        (("v=STSv1; id=1; id=2;",), None),
        (("v=STSv1; id=1; junk;",), None),
        (("V=STSv1; id=1;",), None),
        (("id=1; v=STSv1;",), None),
        ((" v=STSv1; id=1;",), None),
    ],
)
def test_the_txt_record_gives_the_id_or_nothing(texts: tuple[str, ...], id: str | None) -> None:
    assert parse_txt(texts) == id


@given(st.text(max_size=80).map(lambda text: "v=STSv1;" + text))
def test_any_text_is_a_record_or_none(text: str) -> None:
    id = parse_txt([text])
    assert id is None or (id.isascii() and id.isalnum())


def test_a_kept_policy_comes_back_from_json() -> None:
    kept = KeptPolicy("example.com", "1", POLICY, START, START + WEEK / 2)
    assert KeptPolicy.from_json(kept.to_json()) == kept
    assert kept.expires_at == START + WEEK


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        KeptPolicy("example.com", "1", POLICY, START, START).to_json().replace("enforce", "junk"),
        KeptPolicy("example.com", "1", POLICY, START, START).to_json().replace("+00:00", ""),
        KeptPolicy("example.com", "1", POLICY, START, START).to_json().replace("*.example.net", "*"),
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a kept policy"):
        KeptPolicy.from_json(text)
