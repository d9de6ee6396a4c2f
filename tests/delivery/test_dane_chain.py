"""Certificate chains against TLSA records."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.dane_chain import MAX_CHAIN, is_named, presented_chain, prove
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tlsa import TlsaRecord
from tests.delivery.pki import DAY, Identity, issue
from tests.fakes.clock import START

HOST = "mx.example.net"
NAMES = (HOST, "example.com")
ROOT = issue("Root", START, ca=True)
MIDDLE = issue("Middle", START, ROOT, ca=True)
LEAF = issue(HOST, START, MIDDLE, names=(HOST,))
NEXT_HOP = issue(HOST, START, MIDDLE, names=("example.com",))
WILD = issue(HOST, START, MIDDLE, names=("*.example.net",))
NAMELESS = issue(HOST, START, MIDDLE)
OLD = issue(HOST, START, MIDDLE, names=(HOST,), starts=-100 * DAY)
EARLY = issue(HOST, START, MIDDLE, names=(HOST,), starts=DAY)
ELSEWHERE = issue("other.example.org", START, MIDDLE, names=("other.example.org",))
ALONE = issue(HOST, START, names=(HOST,))
FOR_CLIENTS = issue(HOST, START, MIDDLE, names=(HOST,), usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
OLD_MIDDLE = issue("Middle", START, ROOT, ca=True, starts=-100 * DAY)
UNDER_OLD = issue(HOST, START, OLD_MIDDLE, names=(HOST,))
NO_CA = issue("Middle", START, ROOT)
UNDER_NO_CA = issue(HOST, START, NO_CA, names=(HOST,))
IMPOSTOR = issue("Middle", START, ROOT, ca=True)
FORGED = issue(HOST, START, IMPOSTOR, names=(HOST,))

NOT_TRUSTED = TlsFailure.CERTIFICATE_NOT_TRUSTED
MISMATCH = TlsFailure.CERTIFICATE_HOST_MISMATCH
EXPIRED = TlsFailure.CERTIFICATE_EXPIRED


@pytest.mark.parametrize(
    ("chain", "records", "failure"),
    [
        # usage 3 looks at nothing but the host's own certificate
        ((LEAF,), (LEAF.tlsa(3, 1),), None),
        ((LEAF,), (LEAF.tlsa(3, 0),), None),
        ((LEAF,), (LEAF.tlsa(3, 1, 0),), None),
        ((LEAF,), (LEAF.tlsa(3, 0, 0),), None),
        ((ALONE,), (ALONE.tlsa(3, 1),), None),
        ((OLD,), (OLD.tlsa(3, 1),), None),
        ((EARLY,), (EARLY.tlsa(3, 1),), None),
        ((ELSEWHERE,), (ELSEWHERE.tlsa(3, 1),), None),
        ((LEAF, MIDDLE), (MIDDLE.tlsa(3, 1),), NOT_TRUSTED),
        ((LEAF,), (ALONE.tlsa(3, 1), LEAF.tlsa(3, 1)), None),
        ((LEAF,), (ALONE.tlsa(3, 1),), NOT_TRUSTED),
        # usage 2 looks at everything
        ((LEAF, MIDDLE), (MIDDLE.tlsa(2, 0),), None),
        ((LEAF, MIDDLE), (MIDDLE.tlsa(2, 1),), None),
        ((LEAF, MIDDLE), (MIDDLE.tlsa(2, 1, 0),), None),
        ((LEAF, MIDDLE, ROOT), (ROOT.tlsa(2, 0),), None),
        ((LEAF, ROOT, MIDDLE), (ROOT.tlsa(2, 1),), None),  # in the wrong order, as some hosts have it
        ((LEAF, MIDDLE), (ROOT.tlsa(2, 0, 0),), None),  # the whole root in DNS
        ((LEAF,), (MIDDLE.tlsa(2, 0, 0),), None),
        ((LEAF, MIDDLE), (ROOT.tlsa(2, 0),), NOT_TRUSTED),  # its digest alone, and it is not shown
        ((LEAF, MIDDLE), (ROOT.tlsa(2, 1, 0),), NOT_TRUSTED),
        ((NEXT_HOP, MIDDLE), (MIDDLE.tlsa(2, 1),), None),
        ((WILD, MIDDLE), (MIDDLE.tlsa(2, 1),), None),
        ((ELSEWHERE, MIDDLE), (MIDDLE.tlsa(2, 1),), MISMATCH),
        ((NAMELESS, MIDDLE), (MIDDLE.tlsa(2, 1),), MISMATCH),
        ((OLD, MIDDLE), (MIDDLE.tlsa(2, 1),), EXPIRED),
        ((EARLY, MIDDLE), (MIDDLE.tlsa(2, 1),), EXPIRED),
        ((UNDER_OLD, OLD_MIDDLE, ROOT), (ROOT.tlsa(2, 1),), NOT_TRUSTED),
        ((FOR_CLIENTS, MIDDLE), (MIDDLE.tlsa(2, 1),), NOT_TRUSTED),
        ((ALONE,), (ALONE.tlsa(2, 1),), NOT_TRUSTED),  # a host is not its own authority
        ((ALONE, ALONE), (ALONE.tlsa(2, 1),), NOT_TRUSTED),
        ((LEAF,), (LEAF.tlsa(2, 0, 0),), NOT_TRUSTED),
        ((UNDER_NO_CA, NO_CA), (NO_CA.tlsa(2, 1),), NOT_TRUSTED),
        ((FORGED, MIDDLE, ROOT), (MIDDLE.tlsa(2, 1),), NOT_TRUSTED),  # same name, another key
        ((FORGED, MIDDLE, ROOT), (ROOT.tlsa(2, 1),), NOT_TRUSTED),
        # one match is enough, of either usage
        ((LEAF, MIDDLE), (ALONE.tlsa(3, 1), MIDDLE.tlsa(2, 1)), None),
        ((OLD, MIDDLE), (OLD.tlsa(3, 1), ROOT.tlsa(2, 1)), None),
        ((LEAF, MIDDLE), (ROOT.tlsa(2, 1), MIDDLE.tlsa(2, 1)), None),
        # what is not usable never matches
        ((LEAF,), (LEAF.tlsa(1, 1),), NOT_TRUSTED),
        ((LEAF, MIDDLE), (MIDDLE.tlsa(0, 1),), NOT_TRUSTED),
        ((LEAF,), (), NOT_TRUSTED),
        ((), (LEAF.tlsa(3, 1),), TlsFailure.VALIDATION_FAILURE),
    ],
)
def test_a_chain_is_judged_by_the_records(
    chain: tuple[Identity, ...], records: tuple[TlsaRecord, ...], failure: TlsFailure | None
) -> None:
    proof = prove(tuple(one.der for one in chain), records, NAMES, START)
    assert proof.failure is failure, proof.why
    assert proof.holds == (failure is None)
    assert proof.why


@pytest.mark.parametrize(("leaf", "name"), [(LEAF, HOST), (NEXT_HOP, "example.com"), (WILD, HOST)])
def test_a_proof_tells_the_name_that_was_found(leaf: Identity, name: str) -> None:
    assert prove((leaf.der, MIDDLE.der), (MIDDLE.tlsa(2, 1),), NAMES, START).name == name
    assert prove((leaf.der,), (leaf.tlsa(3, 1),), NAMES, START).name == ""


def test_an_authority_that_comes_too_late_in_a_long_chain_is_not_looked_for() -> None:
    chain = (LEAF.der, *(MIDDLE.der for _ in range(MAX_CHAIN - 1)), ROOT.der)
    assert not prove(chain, (ROOT.tlsa(2, 1),), NAMES, START).holds


def test_a_certificate_that_does_not_parse_is_refused_under_usage_2() -> None:
    assert prove((b"junk", MIDDLE.der), (MIDDLE.tlsa(2, 1),), NAMES, START).failure is TlsFailure.VALIDATION_FAILURE


def test_junk_among_the_others_is_passed_over() -> None:
    assert prove((LEAF.der, b"junk", MIDDLE.der), (MIDDLE.tlsa(2, 1),), NAMES, START).holds


def test_authorities_that_vouch_for_each_other_in_circles_end() -> None:
    key = issue("Middle", START, ca=True)
    circle = [issue("Middle", START, key, ca=True, key=key.key) for _ in range(MAX_CHAIN - 2)]
    leaf = issue(HOST, START, key, names=(HOST,))
    assert not prove(tuple(one.der for one in (leaf, *circle, ROOT)), (ROOT.tlsa(2, 1),), NAMES, START).holds


def test_what_a_host_s_certificate_says_is_cleaned() -> None:
    leaf = issue(HOST, START, issue("bad\r\n\x1b[2J", START, ca=True), names=(HOST,))
    proof = prove((leaf.der, MIDDLE.der), (MIDDLE.tlsa(2, 1),), NAMES, START)
    assert not proof.holds
    assert proof.why.isprintable()


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_no_octets_prove_anything(chain: list[bytes]) -> None:
    assert not prove(tuple(chain), (LEAF.tlsa(3, 1), MIDDLE.tlsa(2, 0)), NAMES, START).holds


@pytest.mark.parametrize(
    ("names", "host", "named"),
    [
        (("mx.example.net",), "mx.example.net", True),
        (("MX.Example.net",), "mx.example.NET.", True),
        (("*.example.net",), "mx.example.net", True),
        (("*.example.net",), "example.net", False),
        (("*.example.net",), "a.mx.example.net", False),
        (("*.net",), "net", False),
        (("m*.example.net",), "mx.example.net", False),
        (("mx.*.net",), "mx.example.net", False),
        (("example.net",), "mx.example.net", False),
        (("a.example.org", "mx.example.net"), "mx.example.net", True),
        ((), "mx.example.net", False),
    ],
)
def test_names_of_a_certificate(names: tuple[str, ...], host: str, named: bool) -> None:
    certificate: x509.Certificate = issue(HOST, START, names=names).certificate
    assert is_named(certificate, host) == named


async def test_the_chain_of_a_real_handshake_is_the_one_that_was_shown(tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(LEAF.write(tmp_path / "chain.pem", MIDDLE, ROOT))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as listener:
        port = listener.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=HOST)
        try:
            shown = presented_chain(writer.get_extra_info("ssl_object"))
        finally:
            writer.close()
            await writer.wait_closed()
    assert shown == (LEAF.der, MIDDLE.der, ROOT.der)
    assert prove(shown, (ROOT.tlsa(2, 0),), NAMES, START + timedelta(hours=1)).holds


def test_before_the_handshake_there_is_no_chain() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=HOST)
    assert presented_chain(tls) == ()
