import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.submission.sasl import MECHANISMS, Credentials, Malformed, decode, encode


def carried(mechanism: str, *answers: bytes) -> Credentials:
    exchange = MECHANISMS[mechanism]()
    next(exchange)
    for answer in answers:
        try:
            exchange.send(answer)
        except StopIteration as done:
            found: Credentials = done.value
            return found
    raise AssertionError("the exchange goes on")


@pytest.mark.parametrize(
    ("mechanism", "answers", "credentials"),
    [
        ("PLAIN", [b"\0shop\0pw"], Credentials("shop", b"pw")),
        ("PLAIN", [b"root\0shop\0pw"], Credentials("shop", b"pw", "root")),
        ("PLAIN", ["\0é\0pé".encode()], Credentials("é", "pé".encode())),
        ("PLAIN", [b"\0\0"], Credentials("", b"")),
        ("LOGIN", [b"shop", b"pw"], Credentials("shop", b"pw")),
        ("LOGIN", [b"", b""], Credentials("", b"")),
    ],
)
def test_answers_become_credentials(mechanism: str, answers: list[bytes], credentials: Credentials) -> None:
    assert carried(mechanism, *answers) == credentials


@pytest.mark.parametrize(
    ("mechanism", "answers"),
    [
        ("PLAIN", [b""]),
        ("PLAIN", [b"shop"]),
        ("PLAIN", [b"\0shop"]),
        ("PLAIN", [b"\0shop\0pw\0"]),
        ("PLAIN", [b"\0sh\xffop\0pw"]),
        ("PLAIN", [b"\0sh\nop\0pw"]),
        ("PLAIN", [b"\xff\0shop\0pw"]),
        ("LOGIN", [b"sh\0op", b"pw"]),
        ("LOGIN", [b"\xff", b"pw"]),
        ("LOGIN", [b"shop", b"p\0w"]),
    ],
)
def test_answers_that_no_client_gives_are_malformed(mechanism: str, answers: list[bytes]) -> None:
    with pytest.raises(Malformed):
        carried(mechanism, *answers)


@pytest.mark.parametrize(
    "text", ["=", "a", "ab", "YQ", "YQ=", "YQ===", "Y Q==", "YQ==\n", "YQ==YQ==", "Y-_=", "é", "*"]
)
def test_base64_is_strict_and_never_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not base64$"):
        decode(text)


@given(st.binary(max_size=100))
def test_what_was_encoded_comes_back(octets: bytes) -> None:
    assert decode(encode(octets)) == octets


def test_a_password_is_in_no_repr() -> None:
    assert "pw" not in repr(Credentials("shop", b"pw"))
