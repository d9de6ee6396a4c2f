import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.encoded_words import decoded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("no word =? here ?=", []),
        ("=?utf-8?q?a?", []),
        ("=?utf-8?x?a?=", []),
        ("=?utf-8?q?J=C3=B6rg_B?=", ["Jörg B"]),
        ("=?UTF-8?B?SsO2cmc=?=", ["Jörg"]),
        ("=?utf-8?b?SsO2cmc?=", ["Jörg"]),
        ("=?utf-8?b?S s-O2!cm=c?=", ["Jörg"]),
        ("=?utf-8?b?A?=", [""]),
        ("=?utf-8*de?q?a?=", ["a"]),
        ("=?utf-8?q?two words?=", ["two words"]),
        ("=?utf-7?q?+AEA-?=", ["@"]),
        ("=?iso-2022-jp?b?GyRCJCIbKEI=?=", ["あ"]),
        ("=?iso-8859-15?q?=A4?=", ["€"]),
        ("=?iso-8859-99?q?a=40=A4?=", ["a@\ufffd"]),
        ("=?punycode?q?a=40-bcd?=", ["a@-bcd"]),
        ("=?unicode_escape?q?=5Cx40?=", ["@"]),
        ("=?raw-unicode-escape?q?=5Cu0040?=", ["@"]),
        ("=?utf_16?b?QAA=?=", ["@"]),
        ("=?utf-32be?b?AAAAQA==?=", ["@"]),
        ("=?u7?q?+AEA-?=", ["@"]),
        ("=?unicode-1-1-utf-7?q?+AEA-?=", ["@"]),
        ("=?ibm037?q?=7C?=", ["@"]),
        ("=?rot13?q?n?=", ["n"]),
        ("=?utf-8?q?=FF?=", ["\ufffd"]),
        ("=?utf-8?q?a?= \t =?utf-8?q?b?=", ["ab"]),
        ("=?utf-8?q?a?==?utf-8?q?b?=", ["ab"]),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", ["a", "b"]),
        ("=?utf-8?q?a?=x <y> =?utf-8?q?b?=.z@w", ["ax", "b.z"]),
        ("Jörg =?utf-8?q?J=C3=B6rg?= \udcff", ["Jörg"]),
        ("=?utf-8?q?é\udcff?=", ["é\ufffd"]),
    ],
)
def test_whatever_another_reader_might_decode_is_decoded(text: str, words: list[str]) -> None:
    assert decoded(text) == words


@given(st.binary(max_size=200).map(lambda octets: octets.decode("utf-8", "surrogateescape")))
def test_any_text_is_read(text: str) -> None:
    assert len(decoded(text)) <= text.count("=?")


@given(
    st.sampled_from(
        ["utf-7", "utf-8", "utf-16", "utf-32le", "iso-2022-kr", "shift_jis", "gb18030", "hz", "cp037", "u7"]
    ),
    st.sampled_from("bq"),
    st.text(max_size=60),
)
def test_any_word_is_read(charset: str, encoding: str, text: str) -> None:
    word = f"=?{charset}?{encoding}?{text.replace('?', '')}?="
    assert len(decoded(word.encode("utf-8", "replace").decode())) == 1


@pytest.mark.parametrize(
    "unit", ["=?", "=?a?q?", "=?a?q?x?=", "=?utf-7?b?", "?=", "=?utf-16?q?x?= ", "=" * 50, "=?" + "a" * 80]
)
def test_hostile_texts_take_linear_time(unit: str) -> None:
    text = (unit * 16384)[:16384]
    start = time.perf_counter()
    decoded(text)
    decoded(f"=?utf-7?q?{text.replace('?', '')}?=")
    assert time.perf_counter() - start < 1
