import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.accounts.scram import ITERATIONS, Decoys, Verifier

# of the password "pencil" in the example of RFC 7677 §3
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
TEXT = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_a_verifier_is_what_others_make_of_the_same_password() -> None:
    assert Verifier.make("pencil", SALT).dump() == TEXT


def test_passwords_that_look_alike_have_one_verifier() -> None:
    assert Verifier.make("\u2168", SALT) == Verifier.make("I\u00adX", SALT)


@pytest.mark.parametrize("password", ["", "\u00ad", "a\nb", "\U0001f600"])
def test_a_password_that_no_client_can_send_has_no_verifier(password: str) -> None:
    with pytest.raises(ValueError, match=r"empty|RFC 4013"):
        Verifier.make(password, SALT)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_is_dumped_can_be_read(salt: bytes, stored_key: bytes, server_key: bytes) -> None:
    verifier = Verifier(5000, salt, stored_key, server_key)
    assert Verifier.parse(verifier.dump()) == verifier


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pencil",
        TEXT.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        TEXT.replace("4096", "4095"),
        TEXT.replace("4096", "-4096"),
        TEXT.replace("4096", "４096"),
        TEXT.replace("4096", "99999999"),
        TEXT.replace("4096", "9" * 5000),
        TEXT.replace("W22Z", "W2 Z"),
        TEXT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        TEXT[:-1],
        TEXT + "=",
        TEXT + ":x",
        TEXT + "$x",
        TEXT.replace("2dU=", "2Q=="),
        TEXT.replace("W22Z", "\ud800"),
    ],
)
def test_what_is_no_verifier_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="verifier") as refused:
        Verifier.parse(text)
    assert "WG5d" not in str(refused.value)


def test_its_keys_are_in_no_repr() -> None:
    verifier = Verifier.parse(TEXT)
    assert all(repr(key) not in repr(verifier) for key in (verifier.stored_key, verifier.server_key))


def test_a_decoy_is_the_same_for_a_name_each_time_and_looks_like_a_true_one() -> None:
    model = Verifier.parse(TEXT)
    decoy = Decoys(b"s" * 32).verifier("nobody", model)
    assert decoy == Decoys(b"s" * 32).verifier("nobody", model)
    assert (decoy.iterations, len(decoy.salt)) == (ITERATIONS, 16)
    others = [Decoys(b"s" * 32).verifier("nobody2", model), Decoys(b"t" * 32).verifier("nobody", model)]
    assert decoy.salt not in [other.salt for other in others]
    assert decoy.salt not in (decoy.stored_key[:16], decoy.server_key[:16])


def test_a_decoy_has_a_salt_of_any_length() -> None:
    model = Verifier(10_000, bytes(100), bytes(32), bytes(32))
    decoy = Decoys(b"s").verifier("nobody", model)
    assert (decoy.iterations, len(decoy.salt), len(set(decoy.salt[:32]))) == (10_000, 100, len(set(decoy.salt[:32])))
    assert decoy.salt[:32] != decoy.salt[32:64]
