"""This machine: room on the disk, descriptors, who may read what, the clock, and certificates."""

import os
import resource
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from mta.doctor.finding import Finding, fail, ok, skipped, warn

_SPARE = 100
"""Descriptors for files, name servers and logs."""
_FROM_THE_FUTURE = timedelta(minutes=5)
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")


def disk(folder: Path, min_free: float) -> list[Finding]:
    """Return whether there is room for mail: below `min_free` clients hear 452."""
    there = os.statvfs(folder)
    found = []
    for what, free, total in (("space", there.f_bavail, there.f_blocks), ("inodes", there.f_favail, there.f_files)):
        if not total:
            continue  # some file systems have no fixed number of inodes
        said = f"{free / total:.1%} of {what} is free, {min_free:.1%} is wanted (queue.min_free)"
        if free / total < min_free:
            found.append(fail(f"{said}: clients hear 452 4.3.1", str(folder), "make room"))
        elif free / total < 2 * min_free:
            found.append(warn(said, str(folder), "make room before it is used up"))
        else:
            found.append(ok(said, str(folder)))
    return found


def descriptors(wanted: int, pid: int | None) -> list[Finding]:
    """Return whether the server may open as many connections as it is configured for; of another process than a running
    server's, what this one may.
    """
    limit = _limit_of(pid)
    whose = f"process {pid}" if pid is not None else "this user"
    said = f"{whose} may open {limit} files"
    if limit < wanted + _SPARE:
        remedy = f"set LimitNOFILE={2 * (wanted + _SPARE)} in its unit (or ulimit -n), or lower the max_connections"
        return [fail(f"{said}, and {wanted} connections are allowed by the configuration", "", remedy)]
    return [ok(f"{said}, {wanted} connections are allowed")]


def _limit_of(pid: int | None) -> int:
    if pid is not None:
        for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines():
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return 2**31 if soft == "unlimited" else int(soft)
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft_limit == resource.RLIM_INFINITY else soft_limit


@dataclass(frozen=True, slots=True)
class Guarded:
    """A file or folder that others should not get at."""

    path: Path
    is_secret: bool
    """Others may not even read it."""


def permissions(guarded: Sequence[Guarded]) -> list[Finding]:
    """Return what others may read or change that they should not."""
    found = []
    for one in guarded:
        try:
            mode = one.path.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(
                skipped(f"cannot be looked at: {error.strerror}", str(one.path), "run this as the server's user")
            )
            continue
        forbidden = stat.S_IWGRP | stat.S_IWOTH | (stat.S_IRWXG | stat.S_IRWXO if one.is_secret else 0)
        if mode & forbidden:
            may = "read" if mode & stat.S_IROTH and one.is_secret else "change or read" if one.is_secret else "change"
            rights = "go=" if one.is_secret else "go-w"
            found.append(
                fail(f"others may {may} it ({stat.filemode(mode)})", str(one.path), f"chmod {rights} {one.path}")
            )
    return found or [ok("nobody else may read or change what is ours")]


def clock(now: datetime, newest_event: datetime | None) -> list[Finding]:
    """Return whether the clock can be right: mail with a wrong Date looks like spam, and retries go by it."""
    remedy = "set the clock, and let NTP keep it: timedatectl set-ntp true"
    if newest_event is not None and newest_event - now > _FROM_THE_FUTURE:
        ahead = newest_event - now
        return [fail(f"the newest event in the store is {ahead} in the future: the clock was set back", "", remedy)]
    if now < datetime(2025, 1, 1, tzinfo=UTC):
        return [fail(f"it is not {now:%Y-%m-%d}", "", remedy)]
    kept = ", kept by NTP" if _SYNCHRONIZED.exists() else ""
    return [ok(f"it is {now:%Y-%m-%d %H:%M:%S} UTC{kept}")]


def certificate(path: Path, hostname: str, now: datetime, renew_before: timedelta) -> list[Finding]:
    """Return whether a certificate is in its time, and for our name."""
    try:
        first = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except FileNotFoundError:
        return [skipped("there is none yet; mta serve makes a self-signed one", str(path))]
    except ValueError as error:
        return [fail(f"it is no certificate: {error}", str(path), "put a PEM file there")]
    ends, where = first.not_valid_after_utc, str(path)
    if not first.not_valid_before_utc <= now < ends:
        return [fail(f"it is good from {first.not_valid_before_utc} to {ends} only", where, "renew it; mta reload")]
    if now >= ends - renew_before:
        return [warn(f"it expires on {ends:%Y-%m-%d}", where, "renew it, then run: mta reload")]
    if first.issuer == first.subject:
        return [warn("it is self-signed: clients that check it refuse us", where, "get one from a CA, such as by ACME")]
    if not _is_for(first, hostname):
        return [warn(f"it is not for {hostname}, which clients connect to", where, "get one with that name")]
    return [ok(f"it is good until {ends:%Y-%m-%d}", where)]


def _is_for(certificate: x509.Certificate, hostname: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    parent = hostname.partition(".")[2]
    return any(name.lower() in (hostname, f"*.{parent}") for name in names.get_values_for_type(x509.DNSName))
