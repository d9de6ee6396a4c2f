import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.accounts.scram import Decoys, Verifier
from mta.submission.sasl import Malformed, Proof
from mta.submission.scram import Channel, exchange
from tests.submission.scram_client import ScramClient

VERIFIER = Verifier.make("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
END_POINT = b"the certificate's hash"
PLUS = "p=tls-server-end-point,,"


class Names:
    """A judge with one user, who may act as nobody else."""

    def __init__(self, *, admits: bool = True, locked: bool = False) -> None:
        self.admission = admits
        self.locked = locked
        self.asked: list[tuple[str, str]] = []

    def verifier(self, login: str) -> Verifier | None:
        """Return the user's, or a decoy."""
        return None if self.locked else VERIFIER if login == "user" else Decoys(b"s").verifier(login, VERIFIER)

    def admits(self, login: str, acts_as: str) -> bool:
        """Whether it is the user."""
        self.asked.append((login, acts_as))
        return self.admission and login == "user" and acts_as in ("", "user")


def channel(*, plus: bool = False, end_point: bytes | None = None) -> Channel:
    return Channel(plus, end_point, NONCE)


def talk(where: Channel, judge: Names, *answers: bytes) -> list[bytes | Proof]:
    """Return all that the server said, and at last what was proven."""
    talking = exchange(where, judge)
    said: list[bytes | Proof] = [next(talking)]
    for answer in answers:
        try:
            said.append(talking.send(answer))
        except StopIteration as done:
            return [*said, done.value]
    return said


def carried(client: ScramClient, where: Channel, judge: Names) -> Proof:
    """Carry an exchange to its end."""
    said = talk(where, judge, client.first())[-1]
    if isinstance(said, Proof):
        return said
    final = client.final(said)
    last = talk(where, judge, client.first(), final)[-1]
    if isinstance(last, Proof):
        return last
    assert client.believes(last)
    proof = talk(where, judge, client.first(), final, b"")[-1]
    assert isinstance(proof, Proof)
    return proof


def test_the_example_of_rfc_7677() -> None:
    said = talk(
        channel(),
        Names(),
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"",
    )
    assert said == [
        b"",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        Proof("user", "", proves=True),
    ]


@pytest.mark.parametrize(
    ("header", "plus", "end_point"),
    [
        ("n,,", False, None),
        ("n,,", False, END_POINT),
        ("y,,", False, None),
        ("n,a=user,", False, None),
        (PLUS, True, END_POINT),
        ("p=tls-server-end-point,a=user,", True, END_POINT),
    ],
)
def test_the_right_password_is_proven(header: str, plus: bool, end_point: bytes | None) -> None:
    client = ScramClient("user", "pencil", header, END_POINT if plus else b"")
    assert carried(client, channel(plus=plus, end_point=end_point), Names()).proves


@pytest.mark.parametrize(
    ("login", "password", "judge", "header"),
    [
        ("user", "pencil2", Names(), "n,,"),
        ("nobody", "pencil", Names(), "n,,"),
        ("user", "pencil", Names(admits=False), "n,,"),
        ("user", "pencil", Names(), "n,a=other,"),
        ("user", "pencil", Names(locked=True), "n,,"),
    ],
    ids=["wrong password", "unknown name", "not admitted", "as somebody else", "locked"],
)
def test_who_may_not_log_in_never_hears_the_server_prove_itself(
    login: str, password: str, judge: Names, header: str
) -> None:
    """The last word is `believes`' business only after the proof; `carried` would have met it."""
    client = ScramClient(login, password, header)
    where = channel()
    first = talk(where, judge, client.first())[-1]
    last = first if isinstance(first, Proof) else talk(where, judge, client.first(), client.final(first))[-1]
    assert isinstance(last, Proof)
    assert not last.proves
    assert last.login == login


def test_a_wrong_proof_and_a_right_one_ask_the_same_of_the_judge() -> None:
    asked = []
    for password in ("pencil", "wrong"):
        judge = Names(admits=False)
        carried(ScramClient("user", password), channel(), judge)
        asked.append(judge.asked)
    assert asked[0] == asked[1] == [("user", "")]


@pytest.mark.parametrize("data", [b"", b"another certificate", END_POINT + b"x", END_POINT[:-1]])
def test_another_certificate_between_us_is_found_out(data: bytes) -> None:
    client = ScramClient("user", "pencil", PLUS, data)
    assert not carried(client, channel(plus=True, end_point=END_POINT), Names()).proves


@pytest.mark.parametrize("header", ["y,,", "n,a=user,"])
def test_a_header_that_is_changed_on_the_way_is_found_out(header: str) -> None:
    """The header comes back inside what is proven (RFC 5802 §5.1)."""
    judge, where = Names(), channel()
    client = ScramClient("user", "pencil", header)
    seen = client.first().replace(header.encode(), b"n,,")
    challenge = talk(where, judge, seen)[-1]
    assert isinstance(challenge, bytes)
    assert talk(where, judge, seen, client.final(challenge))[-1] == Proof("user", "", proves=False)


@pytest.mark.parametrize(
    ("header", "plus", "end_point"),
    [
        ("y,,", False, END_POINT),
        ("y,,", True, END_POINT),
        ("n,,", True, END_POINT),
        (PLUS, False, END_POINT),
        (PLUS, False, None),
        ("p=tls-unique,,", True, END_POINT),
        ("p=tls-exporter,,", True, END_POINT),
        ("p=TLS-SERVER-END-POINT,,", True, END_POINT),
        ("p=,,", True, END_POINT),
        ("x,,", False, None),
        ("N,,", False, None),
        ("", False, None),
        (",,", False, None),
        ("n,", False, None),
        ("n,,,", False, None),
        ("n,a=,", False, None),
        ("n,user,", False, None),
        ("n,a=us\0er,", False, None),
        ("n,a=us=er,", False, None),
        ("n,,m=ext,", False, None),
    ],
)
def test_what_is_said_of_channel_binding_has_to_be_true_and_well_formed(
    header: str, plus: bool, end_point: bytes | None
) -> None:
    """A `y` where -PLUS was offered means that somebody took it out of the offer (RFC 5802 §6)."""
    with pytest.raises(Malformed):
        talk(channel(plus=plus, end_point=end_point), Names(), header.encode() + b"n=user,r=abc")


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,",
        b"n,,n=,r=abc",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,r=abc,n=user",
        b"n,,n=user,r=a c",
        b"n,,n=user,r=a\x7fc",
        b"n,,n=user,r=\xc3\xa9",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,,n=\xc2\xad,r=abc",
        b"n,,n=us\x07er,r=abc",
        b"n,,m=1,n=user,r=abc",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=abc\n",
        b"\0user\0pencil",
    ],
)
def test_first_messages_that_no_client_sends_are_malformed(first: bytes) -> None:
    with pytest.raises(Malformed):
        talk(channel(), Names(), first)


def test_an_extension_that_may_be_ignored_is() -> None:
    client = ScramClient("user", "pencil")
    client._bare += ",x=whatever"
    assert carried(client, channel(), Names()).proves


def test_names_are_unescaped_and_prepared() -> None:
    judge = Names()
    client = ScramClient("us=,\u00aader", "pencil")
    carried(client, channel(), judge)
    assert judge.asked == [("us=,ader", "")]


@pytest.mark.parametrize(
    "change",
    [
        (b",p=", b",m=x,p="),
        (b",p=", b",p=!"),
        (b",p=", b",q="),
        (b"c=biws", b"c=b!ws"),
        (b"c=biws", b"c=biw"),
        (b"c=biws,", b""),
        (b",p=", b",p=\xff"),
        (b",p=", b"\n,p="),
    ],
    ids=repr,
)
def test_final_messages_that_no_client_sends_are_malformed(change: tuple[bytes, bytes]) -> None:
    client, judge = ScramClient("user", "pencil"), Names()
    challenge = talk(channel(), judge, client.first())[-1]
    assert isinstance(challenge, bytes)
    with pytest.raises(Malformed):
        talk(channel(), judge, client.first(), client.final(challenge).replace(*change))


@pytest.mark.parametrize(
    "change",
    [(NONCE.encode(), b"othernonce"), (b"r=clientnonce", b"r=Clientnonce"), (b",p=", b",x=y,p=")],
    ids=["our nonce", "its own nonce", "something added"],
)
def test_a_final_message_that_was_changed_proves_nothing(change: tuple[bytes, bytes]) -> None:
    client, judge = ScramClient("user", "pencil"), Names()
    challenge = talk(channel(), judge, client.first())[-1]
    assert isinstance(challenge, bytes)
    last = talk(channel(), judge, client.first(), client.final(challenge).replace(*change))[-1]
    assert last == Proof("user", "", proves=False)


@pytest.mark.parametrize("proof", [b"", bytes(31), bytes(32), bytes(33), VERIFIER.stored_key])
def test_a_proof_that_is_none_proves_nothing(proof: bytes) -> None:
    final = b"c=biws,r=abc" + NONCE.encode() + b",p=" + (base64.b64encode(proof) or b"AA==")
    assert talk(channel(), Names(), b"n,,n=user,r=abc", final)[-1] == Proof("user", "", proves=False)


def test_an_exchange_heard_before_proves_nothing_again() -> None:
    client = ScramClient("user", "pencil")
    challenge = talk(channel(), Names(), client.first())[-1]
    assert isinstance(challenge, bytes)
    final = client.final(challenge)
    another = Channel(wants_binding=False, end_point=None, nonce="anothernonce")
    assert talk(another, Names(), client.first(), final)[-1] == Proof("user", "", proves=False)


def test_the_client_has_nothing_to_say_to_the_last_word() -> None:
    client = ScramClient("user", "pencil")
    challenge = talk(channel(), Names(), client.first())[-1]
    assert isinstance(challenge, bytes)
    with pytest.raises(Malformed):
        talk(channel(), Names(), client.first(), client.final(challenge), b"x")


@given(st.binary(max_size=80), st.binary(max_size=80), st.booleans())
def test_whatever_comes_is_malformed_or_proves_nothing(first: bytes, final: bytes, begun: bool) -> None:
    opening = b"n,,n=user,r=abc" if begun else first
    try:
        said = talk(channel(), Names(), opening, b"c=biws,r=abc" + NONCE.encode() + b",p=" + final)
    except Malformed:
        return
    assert said[-1] != Proof("user", "", proves=True)
    assert len(said) <= 3
