"""What the settings point to: what is refused, what is warned of, and what is left alone."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from mta.cli.certificate import self_signed
from mta.cli.init import FREE_PORTS, make
from mta.config.load import load
from mta.errors import ConfigError
from mta.events import Event
from mta.inspection import Report, inspect, inspected
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    make(folder, "mail.example.com", "example.com", FREE_PORTS, NOW)
    return folder


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "site"))


async def report(site: Path, now: datetime = NOW) -> Report:
    return await inspect(load(site / "mta.toml", {}).settings, FakeClock(now))


def add(site: Path, text: str) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text() + text)


def set_key(site: Path, name: str, pem: bytes) -> None:
    (site / "dkim" / f"example.com.{name}.pem").write_bytes(pem)


async def make_store(site: Path, *accounts: dict[str, object]) -> None:
    class Nobody:
        def observe(self, event: Event) -> None:
            """Nobody looks."""

    path = str(site / "data" / "queue.db")
    async with SqliteStore.open(path, FakeClock(NOW), min_free=0.0, dice=random.Random(1)) as store:
        desk = store.desk(Nobody())
        for account in accounts:
            await desk.put_account(str(account["name"]), json.dumps(account), "uid 0", "added")


def set_version(site: Path, version: int) -> None:
    connection = sqlite3.connect(site / "data" / "queue.db")
    connection.execute("DELETE FROM schema_version WHERE version > ?", (version,))
    connection.execute("INSERT INTO schema_version VALUES (?, 0)", (version,))
    connection.commit()
    connection.close()


async def test_what_init_made_is_in_order_before_and_after_the_first_start(site: Path) -> None:
    assert await report(site) == Report((), ())
    await make_store(site)
    assert await report(site) == Report((), ())


async def test_it_makes_nothing(site: Path) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text().replace('tls = { cert = "tls/cert.pem", key = "tls/key.pem" }', ""))
    (site / "data").rmdir()
    before = list(os.walk(site))
    assert await report(site) == Report((), ())
    assert list(os.walk(site)) == before


def rsa(bits: int) -> bytes:
    return generate_private_key(65537, bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    ("pem", "error", "warning"),
    [
        (rsa(1024), "", "an RSA key of 1024 bits; receivers want 2048"),
        (b"-----BEGIN PRIVATE KEY-----\n", "no usable private key", ""),
        (b"-----BEGIN PRIVATE KEY-----\nBEGIN CERTIFICATE", "this is a public key or a certificate", ""),
    ],
    ids=["weak", "no key", "certificate"],
)
async def test_a_key_has_to_be_one_and_ought_to_be_strong(site: Path, pem: bytes, error: str, warning: str) -> None:
    set_key(site, "r1", pem)
    found = await report(site)
    assert [error in str(each) for each in found.errors] == [True] * bool(error)
    assert any(warning in str(each) and "mta dkim keygen example.com" in str(each) for each in found.warnings)


@pytest.mark.parametrize(
    ("dkim", "warning"),
    [
        ("", "has no DKIM key, so its mail is held"),
        ('dkim = [{ selector = "e1", key = "dkim/example.com.e1.pem" }]', "has Ed25519 keys alone"),
        ("dkim = []", ""),
    ],
)
async def test_a_domain_that_receivers_would_not_trust_is_told_of(site: Path, dkim: str, warning: str) -> None:
    add(site, f'[[domain]]\nname = "other.example"\n{dkim}\n')
    found = await report(site)
    assert found.errors == ()
    assert [(each.key, warning in each.reason) for each in found.warnings] == [('domain "other.example"', True)] * bool(
        warning
    )


async def test_all_errors_are_found_at_once(site: Path) -> None:
    set_key(site, "r1", b"-----BEGIN PRIVATE KEY-----\n")
    set_key(site, "e1", b"-----BEGIN PRIVATE KEY-----\n")
    (site / "keyring.json").write_text("[]")
    (site / "tls" / "key.pem").write_bytes(self_signed("x.example", now=NOW, days=1).key_pem)
    (site / "data").rmdir()
    (site / "data").write_text("a file")
    assert [each.key for each in (await report(site)).errors] == [
        'domain "example.com"',
        'domain "example.com"',
        "secrets.keyring",
        "submission.tls",
        "data_dir",
    ]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW, ""),
        (NOW + timedelta(days=800), ""),
        (NOW + timedelta(days=812), "expires on 2029-02-23"),
        (NOW + timedelta(days=825), "expired on 2029-02-23; clients refuse it"),
        (NOW - timedelta(days=1), "good from 2026-11-22 on only; is this machine's clock right?"),
    ],
    ids=["new", "weeks before its end", "days before its end", "expired", "clock is wrong"],
)
@pytest.mark.parametrize("ours", [False, True])
async def test_a_certificate_out_of_its_time_is_warned_of(site: Path, now: datetime, reason: str, ours: bool) -> None:
    if ours:
        config = site / "mta.toml"
        config.write_text(config.read_text().replace('tls = { cert = "tls/cert.pem", key = "tls/key.pem" }', ""))
        shutil.copy(site / "tls" / "cert.pem", site / "data" / "self-signed.pem")
        shutil.copy(site / "tls" / "key.pem", site / "data" / "self-signed.key")
    found = await report(site, now)
    assert found.errors == ()
    assert [reason in each.reason for each in found.warnings] == [True] * bool(reason)
    remedy = "and restart: another is made" if ours else "renew it, then run: mta reload"
    assert all(remedy in each.remedy for each in found.warnings)


async def test_a_data_dir_whose_socket_would_have_too_long_a_name_is_refused(site: Path) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text().replace('data_dir = "data"', f'data_dir = "{"d" * 120}"'))
    (problem,) = (await report(site)).errors
    assert problem.remedy == "set one with a shorter path"


async def test_a_store_elsewhere_wants_its_folder(site: Path) -> None:
    add(site, '[store]\nurl = "sqlite:elsewhere/queue.db"\n')
    (problem,) = (await report(site)).errors
    assert (problem.key, problem.reason) == ("store.url", f"{site}/data/elsewhere does not exist")


def newer(site: Path) -> None:
    set_version(site, 99)


def garbage(site: Path) -> None:
    (site / "data" / "queue.db").write_bytes(b"no database" * 1000)


def folder(site: Path) -> None:
    (site / "data" / "queue.db").unlink()
    (site / "data" / "queue.db").mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (newer, "written by a newer version of mta (schema 99"),
        (garbage, "file is not a database"),
        (folder, "unable to open"),
    ],
    ids=["newer", "garbage", "folder"],
)
async def test_a_store_that_would_be_misread_is_refused(site: Path, spoil: Callable[[Path], None], reason: str) -> None:
    await make_store(site)
    spoil(site)
    (problem,) = (await report(site)).errors
    assert problem.key == "store"
    assert reason in problem.reason


def older(site: Path) -> None:
    set_version(site, 0)


def emptied(site: Path) -> None:
    os.truncate(site / "data" / "queue.db", 0)


@pytest.mark.parametrize("spoil", [older, emptied])
async def test_an_older_or_empty_store_is_left_to_the_start(site: Path, spoil: Callable[[Path], None]) -> None:
    await make_store(site)
    spoil(site)
    assert await report(site) == Report((), ())


@pytest.mark.slow
async def test_a_store_that_another_process_has_for_itself_is_no_error(site: Path) -> None:
    await make_store(site)
    connection = sqlite3.connect(site / "data" / "queue.db")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert (await report(site)).warnings == ()
    finally:
        connection.close()


async def test_an_account_in_the_configuration_and_in_the_store_is_an_error(site: Path) -> None:
    await make_store(site, {"name": "app", "domains": ["example.com"]})
    (problem,) = (await report(site)).errors
    assert problem.key == 'account "app"'


async def test_a_stored_account_for_a_domain_that_was_taken_out_is_warned_of(site: Path) -> None:
    await make_store(site, {"name": "shop", "domains": ["example.com", "gone.example"]})
    found = await report(site)
    assert found.errors == ()
    (problem,) = found.warnings
    assert (problem.key, problem.remedy) == ('account "shop"', 'add [[domain]] name = "gone.example"')
    assert problem.reason == 'sends from domain "gone.example", which is not configured'


async def test_warnings_join_those_of_the_files_and_errors_are_raised(site: Path) -> None:
    add(site, '[privacy]\ntrash = "1d"\n[[domain]]\nname = "other.example"\n')
    loaded = load(site / "mta.toml", {})
    both = await inspected(loaded, FakeClock(NOW))
    assert both.warnings[:1] == loaded.warnings
    assert [each.key for each in both.warnings[1:]] == ['domain "other.example"']
    (site / "keyring.json").write_text("{}")
    with pytest.raises(ConfigError, match="keyring"):
        await inspected(load(site / "mta.toml", {}), FakeClock(NOW))
