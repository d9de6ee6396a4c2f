"""What the settings point to, looked into before it is used: keys, certificate, keyring, folders and the store.

`mta check`, the start of a server and its reload all ask here, so that none of them takes what another refuses. That
files exist and who may read them, `config.load` has seen to.
"""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from mta import assembly, roster
from mta.certificates import certificate_files, load_certificate
from mta.clock import Clock
from mta.config.load import Loaded
from mta.config.settings import DomainEntry, Settings
from mta.control import protocol
from mta.dkim.keys import RSA_GOOD_BITS, Algorithm, SigningKey
from mta.errors import ConfigError, Problem, StoreUnavailable
from mta.storage.connect import connect, is_locked, translate
from mta.storage.migrate import migrations, refuse_newer, version_of
from mta.storage.reading import Reader

SOCKET = protocol.SOCKET
"""The control socket's name in `data_dir`."""
RENEW_BEFORE = timedelta(days=14)

_LONGEST_SOCKET_PATH = 107  # octets, of a UNIX socket on Linux


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong with what the settings point to."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    problem: Problem
    is_warning: bool = False


async def inspected(loaded: Loaded, clock: Clock) -> Loaded:
    """Return the configuration with the warnings about what it points to.

    Raises:
        ConfigError: what it points to cannot be used; holds all that was found.
    """
    report = await inspect(loaded.settings, clock)
    if report.errors:
        raise ConfigError(*report.errors)
    return replace(loaded, warnings=(*loaded.warnings, *report.warnings))


async def inspect(settings: Settings, clock: Clock) -> Report:
    """Look at everything the settings point to. Makes and changes nothing."""
    found = await asyncio.to_thread(lambda: list(_material(settings, clock.now())))
    found += await _store(settings, clock)
    return Report(
        errors=tuple(each.problem for each in found if not each.is_warning),
        warnings=tuple(each.problem for each in found if each.is_warning),
    )


def _material(settings: Settings, now: datetime) -> Iterator[_Found]:
    for domain in settings.domain:
        yield from _keys(domain)
    try:
        assembly.keyring(settings)
    except ConfigError as error:
        yield from map(_Found, error.problems)
    yield from _certificate(settings, now)
    yield from _folders(settings)


def _keys(domain: DomainEntry) -> Iterator[_Found]:
    key = f'domain "{domain.name}"'
    if domain.dkim is None:
        remedy = f"run: mta dkim keygen {domain.name}; or write dkim = [] to send it unsigned"
        yield _Found(Problem("", None, key, "has no DKIM key, so its mail is held", remedy), is_warning=True)
        return
    keys = []
    for entry in domain.dkim:
        try:
            signing = assembly.signing_key(domain, entry)
        except ConfigError as error:
            yield from map(_Found, error.problems)
            continue
        keys.append(signing)
        if signing.weak:
            yield _weak(signing, entry.key)
    if keys and all(each.algorithm is Algorithm.ED25519 for each in keys):
        reason = "has Ed25519 keys alone, which many receivers cannot check yet"
        remedy = f"add an RSA key: mta dkim keygen {domain.name}"
        yield _Found(Problem("", None, key, reason, remedy), is_warning=True)


def _weak(key: SigningKey, path: Path) -> _Found:
    reason = f"an RSA key of {key.bits} bits; receivers want {RSA_GOOD_BITS} (RFC 8301 §3.2)"
    remedy = f"make another: mta dkim keygen {key.domain}"
    return _Found(Problem(str(path), None, f'domain "{key.domain}"', reason, remedy), is_warning=True)


def _certificate(settings: Settings, now: datetime) -> Iterator[_Found]:
    cert, key = certificate_files(settings)
    is_ours = settings.submission.tls.cert is None
    if is_ours and not (cert.exists() and key.exists()):
        return
    try:
        load_certificate(cert, key, settings.submission.tls)
    except ConfigError as error:
        yield from map(_Found, error.problems)
        return
    try:
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError):
        return  # OpenSSL took it, and that is what will use it
    reason = _out_of_time(first, now)
    if reason:
        remedy = f"remove {cert} and restart: another is made" if is_ours else "renew it, then run: mta reload"
        yield _Found(Problem(str(cert), None, "submission.tls", reason, remedy), is_warning=True)


def _out_of_time(certificate: x509.Certificate, now: datetime) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return f"the certificate is good from {begins:%Y-%m-%d} on only; is this machine's clock right?"
    if now >= ends:
        return f"the certificate expired on {ends:%Y-%m-%d}; clients refuse it"
    if now >= ends - RENEW_BEFORE:
        return f"the certificate expires on {ends:%Y-%m-%d}"
    return ""


def _folders(settings: Settings) -> Iterator[_Found]:
    wanted = {"data_dir": settings.data_dir}
    if settings.store_path.parent != settings.data_dir:
        wanted["store.url"] = settings.store_path.parent
    for key, folder in wanted.items():
        try:
            reason = _unfit(folder, may_be_made=key == "data_dir")
        except OSError as error:
            reason = f"{folder}: {error.strerror}"
        if reason:
            remedy = f"make it, and give it to the user that mta runs as: install -d -m 700 {folder}"
            yield _Found(Problem("", None, key, reason, remedy))
    socket = settings.data_dir / SOCKET
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        reason = f"{socket} is longer than a UNIX socket's name may be ({_LONGEST_SOCKET_PATH} octets)"
        yield _Found(Problem("", None, "data_dir", reason, "set one with a shorter path"))


def _unfit(folder: Path, *, may_be_made: bool) -> str:
    if not folder.exists():
        if not may_be_made:
            return f"{folder} does not exist"
        above = next(each for each in folder.parents if each.exists())
        return "" if _is_ours(above) else f"{folder} does not exist, and cannot be made in {above}"
    if not folder.is_dir():
        return f"{folder} is not a folder"
    return "" if _is_ours(folder) else f"{folder} cannot be written"


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


async def _store(settings: Settings, clock: Clock) -> list[_Found]:
    path = settings.store_path
    try:
        version = await asyncio.to_thread(_version, path)
        if version != len(migrations()):
            return []  # none yet, or an older one that a start brings up to date
        async with Reader.open(str(path), clock) as reader:
            stored = await reader.accounts()
    except StoreUnavailable as trouble:
        return [_Found(Problem("", None, "store", str(trouble)))]
    try:
        directory = roster.directory(settings, stored)
    except ConfigError as error:
        return [_Found(problem) for problem in error.problems]
    configured = {domain.name for domain in settings.domain}
    return [
        _Found(
            Problem(
                "",
                None,
                f'account "{account.name}"',
                f'sends from domain "{domain}", which is not configured',
                f'add [[domain]] name = "{domain}"',
            ),
            is_warning=True,
        )
        for account in directory
        for domain in sorted(account.domains - configured)
    ]


def _version(path: Path) -> int | None:
    """Return a store's schema version; None when there is no store, or another process has it to itself just now.

    Raises:
        StoreUnavailable: it is no store, or of a newer version.
    """
    try:
        if not path.exists():
            return None
        with closing(connect(str(path))) as connection:
            version = version_of(connection)
    except sqlite3.Error as error:
        if is_locked(error):
            return None
        raise translate(str(path), error) from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    refuse_newer(str(path), version, len(migrations()))
    return version
