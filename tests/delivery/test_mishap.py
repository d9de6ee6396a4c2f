"""What went wrong in a handshake, and whether it will go wrong again."""

import errno
import ssl
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mta.delivery import mishap
from mta.delivery.verdict import Stage, Verdict
from mta.mail import failures
from mta.mail.reply import Reply
from tests.delivery.pki import issue
from tests.delivery.world import broken_context

GOOD = issue("mx.example.net", datetime.now(UTC), names=("mx.example.net",))


def _server(folder: Path, kind: str) -> ssl.SSLContext:
    if kind == "no certificate":
        return broken_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(GOOD.write(folder / "server.pem"))
    if kind == "only old TLS":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    if kind == "only a strange cipher":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-SHA")
    return context


def _client(kind: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if kind != "bad certificate":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if kind == "only a strange cipher":
        context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _shaken(client: ssl.SSLContext, server: ssl.SSLContext, *, cut: bool) -> ssl.SSLError:
    """Shake hands in memory; return what the client says of it. `cut`: the server's first octets are its last."""
    ways = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(ways[0], ways[1], server_hostname="mx.example.net")
    theirs = server.wrap_bio(ways[1], ways[0], server_side=True)
    for _ in range(10):
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error
        with suppress(ssl.SSLError):
            theirs.do_handshake()
        if cut:
            ways[0].read()
            ways[0].write_eof()
    raise AssertionError("the hands were shaken")


@pytest.mark.parametrize(
    ("kind", "cut", "is_certain"),
    [
        ("no certificate", False, True),
        ("only old TLS", False, True),
        ("only a strange cipher", False, True),
        ("bad certificate", False, True),
        ("good", True, False),
    ],
)
def test_a_handshake_that_no_other_moment_will_mend_is_told_from_an_accident(
    kind: str, cut: bool, is_certain: bool, tmp_path: Path
) -> None:
    error = _shaken(_client(kind), _server(tmp_path, kind), cut=cut)
    verdict = mishap.refused(Stage.STARTTLS, error, timedelta(0)).verdict
    assert verdict.lacks_tls is is_certain, error
    required = verdict.for_requiretls()
    assert (required.reply.status == failures.ENCRYPTION_NEEDED.status) is is_certain
    assert verdict.reply.status == failures.TLS_FAILED.status


def test_files_of_ours_that_cannot_be_read_say_nothing_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for load in (context.load_verify_locations, context.load_cert_chain):
        with pytest.raises(ssl.SSLError) as caught:
            load(tmp_path / "x.pem")
        assert not mishap.refused(Stage.STARTTLS, caught.value, timedelta(0)).verdict.lacks_tls


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        FileNotFoundError(errno.ENOENT, "none"),
    ],
)
def test_accidents_are_no_reason_to_give_up(error: Exception) -> None:
    verdict = mishap.refused(Stage.STARTTLS, error, timedelta(0)).verdict
    assert not verdict.lacks_tls
    assert verdict.for_requiretls() is verdict


def test_another_refusal_stays_what_it_is() -> None:
    verdict = Verdict(Stage.EHLO, Reply.of(550, "5.7.1", "you are listed"), remote=True)
    assert verdict.for_requiretls() is verdict
