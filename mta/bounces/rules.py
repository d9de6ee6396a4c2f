"""The rules by which replies and reports are understood: data that an operator may edit, checked when it is read.

The shipped ones are `rules.toml`; reading the file is left to the caller.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mta.bounces.phrases import NONE, Phrase, Phrases, fold
from mta.bounces.report import Hardness, Reason

_LIKE = re.compile(r"[245]\.(?:[0-9]{1,3}|\*)\.(?:[0-9]{1,3}(?:-[0-9]{1,3})?|\*)")


class RulesError(ValueError):
    """The rules cannot be used; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, all of which must hold, and what they mean."""

    reason: Reason
    hardness: Hardness
    temporary: Hardness
    """Hardness when the reply calls it temporary."""
    text: Phrases = NONE
    unless: Phrases = NONE
    status: tuple[str, ...] = ()
    """Enhanced codes: `5.1.1`, `5.7.*`, `5.7.606-649`, for either class `*.2.2`; empty for none at all."""
    code: tuple[int, ...] = ()
    """Reply codes; `5` stands for all that begin with it."""

    def holds(self, code: int | None, status: str, folded: str) -> bool:
        """Whether all conditions hold; `status` is empty for none."""
        return (
            (not self.code or (code is not None and (code in self.code or code // 100 in self.code)))
            and (not self.status or any(_is_like(status, like) for like in self.status))
            and (not self.text.phrases or self.text.any_in(folded))
            and not self.unless.any_in(folded)
        )


def _is_like(status: str, like: str) -> bool:
    if not status or not like:
        return status == like
    theirs, ours = status.split("."), like.split(".")
    return len(theirs) == 3 and all(_part_is_like(*pair) for pair in zip(theirs, ours, strict=True))


def _part_is_like(part: str, like: str) -> bool:
    low, dash, high = like.partition("-")
    return like in ("*", part) or bool(dash and int(low) <= int(part) <= int(high))


@dataclass(frozen=True, slots=True)
class Notices:
    """How a failure told in prose is known and read."""

    mailboxes: Phrases
    """The local part of a mail system's From begins so."""
    senders: Phrases
    """In the name of a mail system's From; anybody may call himself so."""
    subjects: Phrases
    """Of a failure."""
    openings: Phrases
    """Of a failure, in its text."""
    delays: Phrases
    """It is late, and is still being tried."""
    finals: Phrases
    """It is given up, whatever it says of delays."""
    ends: Phrases
    """A line begins so, and our message, sent back, comes after it."""
    strangers: Phrases
    """In a line whose address is nobody that failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One sort of automatic answer."""

    reason: str
    subjects: Phrases
    texts: Phrases


@dataclass(frozen=True, slots=True)
class Departures:
    """How somebody asks to be left alone."""

    texts: Phrases
    around: frozenset[str]
    """Words that may stand around such a phrase; any other word makes it a letter."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, in order; the first that holds is right."""

    texts: tuple[Rule, ...]
    """Those that ask for words."""
    codes: tuple[Rule, ...]
    """Those that ask for codes only; tried when no words are known."""
    notices: Notices
    answers: tuple[Answer, ...]
    departures: Departures
    complaints: tuple[Answer, ...]
    """Complaints that are no feedback reports, with our message attached; only the subject counts."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `rules.toml`.

        Raises:
            RulesError: it is not TOML, or a rule says what no rule can.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RulesError(f"not TOML: {error}") from None
        rules = [_rule(entry, f"rule {number}") for number, entry in enumerate(_tables(table, "rule"), 1)]
        notice = _table(table, "notice")
        unsubscribe = _table(table, "unsubscribe")
        read = cls(
            tuple(rule for rule in rules if rule.text.phrases),
            tuple(rule for rule in rules if not rule.text.phrases),
            Notices(**{name: _phrases(notice, name, "notice") for name in Notices.__dataclass_fields__}),
            tuple(_answer(entry, f"answer {number}") for number, entry in enumerate(_tables(table, "answer"), 1)),
            Departures(
                _phrases(unsubscribe, "texts", "unsubscribe"),
                frozenset(fold(word) for word in _strings(unsubscribe, "around", "unsubscribe")),
            ),
            tuple(_answer(entry, f"complaint {number}") for number, entry in enumerate(_tables(table, "complaint"), 1)),
        )
        _nothing_left(table, "the file")
        _nothing_left(notice, "notice")
        _nothing_left(unsubscribe, "unsubscribe")
        return read


def _rule(entry: dict[str, Any], where: str) -> Rule:
    try:
        reason = Reason(entry.pop("reason", ""))
        hard = reason in (Reason.BAD_MAILBOX, Reason.BAD_DOMAIN)
        hardness = Hardness(entry.pop("hardness", Hardness.HARD if hard else Hardness.SOFT))
        temporary = Hardness(entry.pop("temporary", hardness))
    except ValueError as error:
        raise RulesError(f"{where}: {error}") from None
    status = tuple(like for pattern in _strings(entry, "status", where) for like in _classes(pattern))
    for like in status:
        if like and not _LIKE.fullmatch(like):
            raise RulesError(f"{where}: {like!r} is no enhanced status code, nor a pattern of one")
    code = entry.pop("code", [])
    if not isinstance(code, list) or not all(type(one) is int and (one in (4, 5) or 400 <= one < 600) for one in code):
        raise RulesError(f"{where}: code must be a list of reply codes, 4 or 5")
    text, unless = _phrases(entry, "text", where), _phrases(entry, "unless", where)
    rule = Rule(reason, hardness, temporary, text, unless, status, tuple(code))
    _nothing_left(entry, where)
    if not (rule.text.phrases or rule.status or rule.code):
        raise RulesError(f"{where}: it has no condition")
    return rule


def _classes(pattern: str) -> tuple[str, ...]:
    return (f"4{pattern[1:]}", f"5{pattern[1:]}") if pattern.startswith("*.") else (pattern,)


def _answer(entry: dict[str, Any], where: str) -> Answer:
    reason = entry.pop("reason", None)
    if not isinstance(reason, str):
        raise RulesError(f"{where}: reason is missing")
    answer = Answer(reason, _phrases(entry, "subjects", where), _phrases(entry, "texts", where))
    _nothing_left(entry, where)
    return answer


def _tables(table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = table.pop(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RulesError(f"{key}: must be written as [[{key}]]")
    return entries


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    entry = table.pop(key, {})
    if not isinstance(entry, dict):
        raise RulesError(f"{key}: must be written as [{key}]")
    return entry


def _strings(entry: dict[str, Any], key: str, where: str) -> list[str]:
    texts = entry.pop(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RulesError(f"{where}: {key} must be a list of strings")
    return texts


def _phrases(entry: dict[str, Any], key: str, where: str) -> Phrases:
    try:
        return Phrases(tuple(Phrase.parse(text) for text in _strings(entry, key, where)))
    except ValueError as error:
        raise RulesError(f"{where}: {key}: {error}") from None


def _nothing_left(entry: Mapping[str, Any], where: str) -> None:
    if entry:
        raise RulesError(f"{where}: {next(iter(entry))!r} is unknown")
