import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.mail.address import Mailbox
from mta.mail.header import Header
from mta.mail.originators import MAX_FIELD, parse_mailbox_list

OWN = "a@own.example"


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("a@own.example", [OWN]),
        ("<a@own.example>", [OWN]),
        ("A <a@own.example>", [OWN]),
        ("A<a@own.example>", [OWN]),
        ("John Q. Public <a@own.example>", [OWN]),
        ('"Public, John" <a@own.example>', [OWN]),
        ("a@own.example (The Shop)", [OWN]),
        ("(before) a@own.example (after (nested \\) one))", [OWN]),
        ("A (of the (old) shop) <a@own.example>", [OWN]),
        ("A (x at evil.example) <a@own.example>", [OWN]),
        ("A < a@own.example >", [OWN]),
        ("a@own.example, B <b@own.example>", [OWN, "b@own.example"]),
        ("a@OWN.Example", [OWN]),
        ("=?utf-8?q?J=C3=B6rg?= <a@own.example>", [OWN]),
        ("Jörg <a@own.example>", [OWN]),
        ("jörg@own.example", ["jörg@own.example"]),
        ("a@bücher.example", ["a@xn--bcher-kva.example"]),
        ('"a b"@own.example', ['"a b"@own.example']),
        ("'a@own.example'@evil.example", None),
        ('"jane@customer.example via Shop" <a@own.example>', [OWN]),
        ('"Jane <3" <a@own.example>', [OWN]),
        ("=?utf-8?q?M=C3=BCller=2C_Hans?= <a@own.example>", [OWN]),
        ("=?utf-8?q?J=C3=B6rg_=28=40joerg=29?= <a@own.example>", [OWN]),
        ("=?utf-8?q?Caf=C3=A9_=40_Berlin?= <a@own.example>", [OWN]),
        ("=?utf-8?q?=C3=9Cber_info=40own.example?= <a@own.example>", [OWN]),
        ("=?utf-8?q?info=40b=C3=BCcher=2Eexample?= <a@xn--bcher-kva.example>", ["a@xn--bcher-kva.example"]),
        ("=?utf-8?q?info=40b=C3=BCcher.example?= <a@bücher.example>", ["a@xn--bcher-kva.example"]),
        ("=?iso-2022-jp?B?GyRCJCIbKEI=?= <a@own.example>", [OWN]),
        ("=?iso-8859-1?Q?Shop=92s?= <a@own.example>", [OWN]),
        ("=?unknown-8bit?Q?Shop=81=92?= <a@own.example>", [OWN]),
        ("=?utf-8?b?broken <a@own.example>", [OWN]),
        ('"=?utf-8?q?Caf=C3=A9?=" <a@own.example>', [OWN]),
        ("شركة <a@own.example>", [OWN]),
        # who is fooled by these takes the wrong one for the author
        ('"a@own.example" <x@evil.example>', ["x@evil.example"]),
        ("a@own.example, x@evil.example", [OWN, "x@evil.example"]),
        ("=?utf-8?q?x=40evil=2Eexample?=", None),
        ("a@own.example <x@evil.example>", None),
        ("x@evil.example <a@own.example>", None),
        ("<a@own.example> <x@evil.example>", None),
        ("<a@own.example> x@evil.example", None),
        ("<a@own.example>, ", None),
        (", a@own.example", None),
        ("a@own.example,,b@own.example", None),
        ("<@evil.example:a@own.example>", None),
        ("<@evil.example,@b.example:a@own.example>", None),
        ("undisclosed:;", None),
        ("group: a@own.example;", None),
        ("a@own.example; x@evil.example", None),
        ("a@own.example@evil.example", None),
        ("a@own.example x@evil.example", None),
        ("a (comment)@own.example", None),
        ("a@own (comment).example", None),
        ("a @ own.example", None),
        ("a.@own.example", None),
        ("<a@own.example", None),
        ("a@own.example>", None),
        ("A <<a@own.example>>", None),
        ("<>", None),
        ("", None),
        ("A", None),
        ("a@", None),
        ("@own.example", None),
        ('"a@own.example', None),
        ("(a@own.example", None),
        ("a@own.example)", None),
        ("a@[127.0.0.1]", None),
        ("a@own.example\r x@evil.example", None),
        ("a@own.example\n", None),
        ("a@own.example\x00x@evil.example", None),
        ('"\\\r\n" <a@own.example>', None),
        ("a\u0085@own.example", None),
    ],
)
def test_the_authors_are_those_that_every_receiver_sees(value: str, addresses: list[str] | None) -> None:
    if addresses is None:
        with pytest.raises(ValueError, match=r".+"):
            parse_mailbox_list(value.encode())
    else:
        assert [str(box) for box in parse_mailbox_list(value.encode())] == addresses


def test_octets_that_are_no_utf_8_are_let_through_in_a_name_only() -> None:
    assert parse_mailbox_list(b"J\xf6rg <a@own.example>") == (Mailbox("a", "own.example"),)
    with pytest.raises(ValueError, match="local part"):
        parse_mailbox_list(b"j\xf6rg@own.example")


def test_a_folded_field_is_read_as_a_whole() -> None:
    header = Header.parse(b'From: "a@own.example"\r\n <x@evil.example>,\r\n\tB <b@own.example>\r\n')
    assert [str(box) for box in parse_mailbox_list(header.fields[0].value)] == ["x@evil.example", "b@own.example"]


@pytest.mark.parametrize("unit", ["(", '"', "\\", "(\\", "a,", "<", "a@b.c,", '"\\"', "a.", " (", "()", "é"])
def test_hostile_fields_take_linear_time(unit: str) -> None:
    value = (unit * MAX_FIELD).encode()[:MAX_FIELD]
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r".+"):
        parse_mailbox_list(value)
    assert time.perf_counter() - start < 1


def test_a_field_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        parse_mailbox_list(b"x" * MAX_FIELD + b"@own.example")


@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80@own.example")
def test_any_octets_give_mailboxes_or_a_value_error(value: bytes) -> None:
    try:
        mailboxes = parse_mailbox_list(value)
    except ValueError:
        return
    assert mailboxes
    assert all("@" in str(box) for box in mailboxes)


@given(st.text('ab.@<>(),:;"\\ \t[]é', max_size=30))
def test_what_is_read_stands_in_the_field(value: str) -> None:
    try:
        mailboxes = parse_mailbox_list(value.encode())
    except ValueError:
        return
    assert all(box.local_part in value for box in mailboxes)
    assert len(mailboxes) <= value.count("@")


_atoms = st.from_regex(r"[a-z0-9!#$%&'*+/=^_`{|}~-]{1,10}", fullmatch=True)
_mailboxes = st.builds(Mailbox, _atoms, st.sampled_from(["own.example", "sub.own.example", "x--y.example"]))
_letters = st.characters(
    codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"], exclude_characters='"\\<>', include_characters="@"
)
_names = st.text(_letters, max_size=20).map('"{}" '.format)


@given(st.lists(st.tuples(_names | st.just(""), _mailboxes), min_size=1, max_size=5))
def test_print_then_parse_is_the_identity(authors: list[tuple[str, Mailbox]]) -> None:
    value = ", ".join(f"{name}<{box}>" for name, box in authors)
    assert parse_mailbox_list(value.encode()) == tuple(box for _, box in authors)
