"""The machine's own troubles."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mta.cli.certificate import self_signed
from mta.doctor.finding import Verdict
from mta.doctor.machine import Guarded, certificate, clock, descriptors, disk, permissions

OK, WARN, FAIL, SKIPPED = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.SKIPPED
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("wanted", "verdict"), [(0.0, OK), (1.1, FAIL)])
def test_a_disk_is_full_below_what_is_wanted(tmp_path: Path, wanted: float, verdict: Verdict) -> None:
    assert {one.verdict for one in disk(tmp_path, wanted)} == {verdict}


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize(("wanted", "verdict"), [(1, OK), (2**33, FAIL)])
def test_descriptors_must_do_for_the_connections_that_are_allowed(
    wanted: int, verdict: Verdict, is_running: bool
) -> None:
    (found,) = descriptors(wanted, os.getpid() if is_running else None)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("mode", "is_secret", "verdict", "remedy"),
    [
        (0o600, True, OK, ""),
        (0o640, True, FAIL, "chmod go= "),
        (0o644, True, FAIL, "chmod go= "),
        (0o644, False, OK, ""),
        (0o664, False, FAIL, "chmod go-w "),
        (0o646, False, FAIL, "chmod go-w "),
    ],
)
def test_others_may_neither_read_secrets_nor_change_anything(
    tmp_path: Path, mode: int, is_secret: bool, verdict: Verdict, remedy: str
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    (found,) = permissions([Guarded(path, is_secret), Guarded(tmp_path / "missing", is_secret=True)])
    assert (found.verdict, found.remedy.startswith(remedy)) == (verdict, True)


@pytest.mark.parametrize(
    ("now", "newest", "verdict"),
    [
        (NOW, None, OK),
        (NOW, NOW, OK),
        (NOW, NOW - timedelta(days=30), OK),
        (NOW, NOW + timedelta(minutes=1), OK),
        (NOW, NOW + timedelta(hours=1), FAIL),
        (datetime(1970, 1, 1, tzinfo=UTC), None, FAIL),
    ],
)
def test_a_clock_behind_what_happened_is_wrong(now: datetime, newest: datetime | None, verdict: Verdict) -> None:
    (found,) = clock(now, newest)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("made", "days", "verdict", "said"),
    [
        (NOW, 100, WARN, "self-signed"),
        (NOW, 10, WARN, "expires on"),
        (NOW - timedelta(days=100), 50, FAIL, "it is good from"),
        (NOW + timedelta(days=5), 50, FAIL, "it is good from"),
    ],
)
def test_a_certificate_has_its_time(tmp_path: Path, made: datetime, days: int, verdict: Verdict, said: str) -> None:
    path = tmp_path / "cert.pem"
    path.write_bytes(self_signed("mail.example.com", now=made, days=days).cert_pem)
    (found,) = certificate(path, "mail.example.com", NOW, timedelta(days=14))
    assert (found.verdict, said in found.what) == (verdict, True), found


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    assert certificate(path, "mail.example.com", NOW, timedelta(days=14))[0].verdict is SKIPPED
    path.write_bytes(b"nonsense")
    assert certificate(path, "mail.example.com", NOW, timedelta(days=14))[0].verdict is FAIL
