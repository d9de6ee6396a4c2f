"""MTA-STS: a domain's own word, got over HTTPS, on which hosts take its mail and that they show good certificates
(RFC 8461 §3).

Reading of the TXT record and of the policy, and the hosts that a policy names: pure. Getting one is left to
`sts_fetch`, keeping it to `sts_cache`, what follows for a connection to `tls_policy`.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

MAX_POLICY = 64 * 1024
"""Octets of a policy; RFC 8461 §3.3 suggests as much."""
MAX_AGE = timedelta(seconds=31_557_600)
"""About a year; a longer `max_age` is cut to it (RFC 8461 §3.2)."""

_VERSION = "STSv1"
_RECORD = re.compile(r"v=STSv1[ \t]*(?:;|\Z)")
_TXT_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([!-:<>-~]+(?:[ \t]+[!-:<>-~]+)*)")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_SECONDS = re.compile(r"[0-9]{1,10}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_SHOWN = 80


class Mode(StrEnum):
    """What is to be done about a host that fails the policy (RFC 8461 §5)."""

    ENFORCE = "enforce"
    """Nothing is delivered to it."""
    TESTING = "testing"
    """It is reported, and delivered to."""
    NONE = "none"
    """The domain has no policy any more."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy."""

    mode: Mode
    hosts: tuple[str, ...]
    """The `mx` patterns, lower case: a name, or `*.` and a name, the star standing for one label."""
    max_age: timedelta

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read a policy file (RFC 8461 §3.2). Unknown keys, and a second value of a key that may stand once, count not.

        Raises:
            ValueError: it is none; the text says why and quotes it.
        """
        if len(octets) > MAX_POLICY:
            raise ValueError(f"a policy of {len(octets)} octets; {MAX_POLICY} are read")
        once: dict[str, str] = {}
        hosts: list[str] = []
        for line in octets.decode("utf-8").split("\n"):
            key, value = _field(line.removesuffix("\r"))
            if key == "mx":
                hosts.append(_pattern(value))
            elif key:
                once.setdefault(key, value)
        if once.get("version") != _VERSION:
            raise ValueError(f"its version is {_quoted(once.get('version', ''))}, not {_VERSION}")
        try:
            mode = Mode(once.get("mode", ""))
        except ValueError:
            raise ValueError(f"its mode is {_quoted(once.get('mode', ''))}") from None
        if not _SECONDS.fullmatch(once.get("max_age", "")):
            raise ValueError(f"its max_age is {_quoted(once.get('max_age', ''))}")
        if not hosts and mode is not Mode.NONE:
            raise ValueError("it names no mx")
        max_age = min(timedelta(seconds=int(once["max_age"])), MAX_AGE)
        return cls(mode, tuple(dict.fromkeys(hosts)), max_age)

    def lines(self) -> tuple[str, ...]:
        """Return the policy's own lines, as reports quote it (RFC 8460 §4.4)."""
        seconds = int(self.max_age.total_seconds())
        hosts = (f"mx: {pattern}" for pattern in self.hosts)
        return (f"version: {_VERSION}", f"mode: {self.mode}", *hosts, f"max_age: {seconds}")

    def allows(self, host: str) -> bool:
        """Whether the policy names an MX host (RFC 8461 §4.1). Case and a final dot count not."""
        name = host.lower().removesuffix(".")
        label, _, above = name.partition(".")
        return bool(label) and any(
            pattern == name or (pattern.startswith("*.") and pattern[2:] == above) for pattern in self.hosts
        )


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A domain's policy as it is kept. The domain is in lower-case A-labels, times are UTC."""

    domain: str
    id: str
    """Of the TXT record that it was got for."""
    policy: Policy
    fetched_at: datetime
    refresh_at: datetime
    """From when on it is got anew, whatever the TXT record says."""

    @property
    def expires_at(self) -> datetime:
        """From when on it says nothing any more."""
        return self.fetched_at + self.policy.max_age

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(
            {
                "domain": self.domain,
                "id": self.id,
                "mode": self.policy.mode,
                "mx": self.policy.hosts,
                "max_age": int(self.policy.max_age.total_seconds()),
                "fetched_at": self.fetched_at.isoformat(),
                "refresh_at": self.refresh_at.isoformat(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it did not write this.
        """
        try:
            known = json.loads(text)
            hosts = tuple(_pattern(str(host)) for host in known["mx"])
            policy = Policy(Mode(known["mode"]), hosts, min(timedelta(seconds=int(known["max_age"])), MAX_AGE))
            fetched_at, refresh_at = (datetime.fromisoformat(known[key]) for key in ("fetched_at", "refresh_at"))
            if fetched_at.tzinfo is None or refresh_at.tzinfo is None:
                raise ValueError("a time without zone")
            kept = cls(str(known["domain"]), str(known["id"]), policy, fetched_at, refresh_at)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a kept policy ({error!r}): {_quoted(text)}") from error
        return kept


def parse_txt(texts: Iterable[str]) -> str | None:
    """Return the id of the one STSv1 record among a name's TXT records, each with its strings joined.

    None: there is none, or more than one, or it is malformed, all of which mean "no policy" (RFC 8461 §3.1).
    """
    records = [text for text in texts if _RECORD.match(text)]
    if len(records) != 1:
        return None
    found = None
    for field in records[0].rstrip(" \t").removesuffix(";").split(";")[1:]:
        match = _TXT_FIELD.fullmatch(field.strip(" \t"))
        if match is None:
            return None
        if match[1] == "id":
            if found is not None or not _ID.fullmatch(match[2]):
                return None
            found = match[2]
    return found


def _field(line: str) -> tuple[str, str]:
    """Return key and value; an empty key for a blank line."""
    if not line.strip(" \t"):
        return "", ""
    key, colon, value = line.partition(":")
    key = key.rstrip(" \t")
    if not colon or not _KEY.fullmatch(key):
        raise ValueError(f"not a line of a policy: {_quoted(line)}")
    return key, value.strip(" \t")


def _pattern(value: str) -> str:
    pattern = value.lower().removesuffix(".")
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"not a host or a pattern of hosts: {_quoted(value)}")
    return pattern


def _quoted(text: str) -> str:
    return repr(text[:_SHOWN])
