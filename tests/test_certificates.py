"""The certificate that listeners show."""

import hashlib
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from mta.certificates import certificate_files, make_data_dir, server_certificate
from mta.cli.certificate import self_signed
from mta.config.settings import ServerTls, Settings, SubmissionSettings
from mta.errors import ConfigError
from tests.fakes.clock import START, FakeClock


def settings(data_dir: Path, tls: ServerTls = ServerTls()) -> Settings:  # noqa: B008  frozen
    return Settings(hostname="mail.example.com", data_dir=data_dir, submission=SubmissionSettings(tls=tls))


def pair(folder: Path, name: str = "one") -> ServerTls:
    made = self_signed("mail.example.com", now=START, days=90)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.cert_pem)
    key.write_bytes(made.key_pem)
    return ServerTls(cert=cert, key=key)


def digest(cert: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()


def test_without_one_a_self_signed_one_is_made_once_for_us_alone(tmp_path: Path) -> None:
    first = server_certificate(settings(tmp_path), FakeClock())
    again = server_certificate(settings(tmp_path), FakeClock(START + timedelta(days=1)))
    assert first.sha256 == again.sha256
    cert, key = certificate_files(settings(tmp_path))
    assert (stat.S_IMODE(cert.stat().st_mode), stat.S_IMODE(key.stat().st_mode)) == (0o600, 0o600)
    assert digest(cert) == first.sha256


def test_half_of_a_pair_is_made_anew(tmp_path: Path) -> None:
    first = server_certificate(settings(tmp_path), FakeClock())
    certificate_files(settings(tmp_path))[1].unlink()
    assert server_certificate(settings(tmp_path), FakeClock()).sha256 != first.sha256


def test_the_configured_one_is_taken_and_none_is_made(tmp_path: Path) -> None:
    tls = pair(tmp_path)
    assert tls.cert is not None
    assert server_certificate(settings(tmp_path / "data", tls), FakeClock()).sha256 == digest(tls.cert)
    assert not (tmp_path / "data").exists()


def test_the_first_of_a_chain_is_the_servers_own(tmp_path: Path) -> None:
    tls, issuer = pair(tmp_path), pair(tmp_path, "issuer")
    assert tls.cert is not None
    assert issuer.cert is not None
    own = digest(tls.cert)
    tls.cert.write_text("Zertifikat für mail.example.com\n" + tls.cert.read_text() + issuer.cert.read_text())
    assert server_certificate(settings(tmp_path, tls), FakeClock()).sha256 == own


@pytest.mark.parametrize(("version", "least"), [("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)])
def test_the_least_version_of_tls_is_the_configured_one(tmp_path: Path, version: str, least: ssl.TLSVersion) -> None:
    tls = ServerTls.model_validate({**pair(tmp_path).model_dump(), "min_version": version})
    assert server_certificate(settings(tmp_path, tls), FakeClock()).context.minimum_version is least


@pytest.mark.parametrize(
    ("cert", "key"),
    [
        ("one.pem", "other.key"),
        ("broken.pem", "one.key"),
        ("one.pem", "empty.key"),
        ("one.pem", "missing.key"),
        ("missing.pem", "one.key"),
    ],
)
def test_what_does_not_belong_together_is_refused_with_a_way_to_look(tmp_path: Path, cert: str, key: str) -> None:
    pair(tmp_path)
    pair(tmp_path, "other")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty.key").write_text("")
    tls = ServerTls(cert=tmp_path / cert, key=tmp_path / key)
    with pytest.raises(ConfigError, match="these two must print the same: openssl x509") as refused:
        server_certificate(settings(tmp_path, tls), FakeClock())
    (problem,) = refused.value.problems
    assert (problem.file, problem.key) == (str(tmp_path / cert), "submission.tls")


def test_a_data_dir_is_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "mta"
    make_data_dir(settings(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    make_data_dir(settings(folder))


def test_a_data_dir_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="install -d -m 700"):
        make_data_dir(settings(tmp_path / "file" / "mta"))
    with pytest.raises(ConfigError, match="data_dir"):
        server_certificate(settings(tmp_path / "nowhere"), FakeClock())
