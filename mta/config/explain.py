"""Validation errors of pydantic, and places in the settings, in the words of somebody who edits the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import ValidationError

from mta.config.positions import Loc
from mta.config.schema import LIST_TABLES, part_at
from mta.config.settings import Settings
from mta.config.values import given

_NAMED_BY = {"domain": "name", "account": "name", "source": "name", "shaping": "site", "route": "domain"}

_WHEN_MISSING: Mapping[Loc, str] = {
    ("hostname",): 'set it to this machine\'s full name, e.g. hostname = "mail.example.com"',
    ("account", "name"): 'give the name it logs in with, e.g. name = "shop"',
    ("account", "domains"): 'list the domains it may send from, e.g. domains = ["example.com"]',
    ("account", "webhook", "url"): 'e.g. url = "https://shop.example.com/hooks/mail"',
    ("account", "webhook", "secret"): 'e.g. secret = { file = "webhook.secret" }',
    ("domain", "name"): 'e.g. name = "example.com"',
    ("domain", "dkim", "selector"): 'e.g. selector = "r1"',
    ("domain", "dkim", "key"): 'name the file of the private key, e.g. key = "dkim/example.com.r1.pem"',
    ("route", "domain"): 'e.g. domain = "*.internal.example"',
    ("shaping", "site"): 'e.g. site = "google"',
    ("source", "name"): 'e.g. name = "a"',
    ("source", "address"): 'e.g. address = "192.0.2.10"',
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a place of the settings, before it has a file and a line.

    `about` is the place the message speaks of when that is not `loc`; `first` is the place of an earlier rival.
    """

    loc: Loc
    reason: str
    remedy: str = ""
    is_warning: bool = False
    about: Loc | None = None
    first: Loc | None = None


def subject(loc: Loc, data: Mapping[str, object]) -> str:
    """Return how a message names a place: "queue.retry", 'account "shop": rate', "account #2: rate"."""
    if not loc or loc[0] not in LIST_TABLES:
        return ".".join(key for key in loc if isinstance(key, str))
    entry, name = str(loc[0]), ""
    if len(loc) > 1 and isinstance(loc[1], int):
        entries = data.get(entry)
        fields = entries[loc[1]] if isinstance(entries, list) and loc[1] < len(entries) else None
        label = fields.get(_NAMED_BY[entry]) if isinstance(fields, dict) else None
        name = f" {given(label)}" if isinstance(label, str) else f" #{loc[1] + 1}"
    rest = ".".join(key for key in loc[2:] if isinstance(key, str))
    return f"{entry}{name}" + (f": {rest}" if rest else "")


def findings(error: ValidationError) -> tuple[Finding, ...]:
    """Return one finding for each error; no value of a secret key is repeated in them."""
    return tuple(
        _finding(details["type"], tuple(details["loc"]), details.get("ctx", {}), details["input"], details["msg"])
        for details in error.errors(include_url=False)
    )


def _finding(kind: str, loc: Loc, context: Mapping[str, object], value: object, message: str) -> Finding:
    match kind:
        case "missing":
            key = tuple(part for part in loc if isinstance(part, str))
            return Finding(loc, f"{key[-1]} is missing", _WHEN_MISSING.get(key, ""), about=loc[:-1])
        case "extra_forbidden":
            return _unknown(loc)
        case "value_error":
            return Finding(loc, str(context["error"]))
        case "literal_error":
            wanted = str(context["expected"]).replace("'", '"')
            return Finding(loc, f"expected {wanted}, got {given(value)}")
        case "string_pattern_mismatch":
            return Finding(loc, f'expected a URL such as "https://mail.example.com", got {given(value)}')
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "too_short" | "string_too_short":
            return Finding(loc, _bound(kind, context, value))
        case "tuple_type" if loc[-1] in LIST_TABLES and isinstance(value, dict):
            return Finding(loc, f"one table for each is expected, [[{loc[-1]}]]", "double the brackets")
        case "tuple_type" if loc[-1] in LIST_TABLES:
            return Finding(loc, f"expected tables, each under a line [[{loc[-1]}]], got {given(value)}")
    expected = _EXPECTED_TYPES.get(kind)
    return Finding(loc, f"expected {expected}, got {given(value)}" if expected else message)


_EXPECTED_TYPES = {
    "tuple_type": "a list in square brackets",
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a table such as { key = value }",
    "date_type": "a date such as 2026-12-01",
}


def _bound(kind: str, context: Mapping[str, object], value: object) -> str:
    match kind:
        case "greater_than_equal":
            return f"expected at least {context['ge']}, got {given(value)}"
        case "greater_than":
            return f"expected more than {context['gt']:g}, got {given(value)}"
        case "less_than_equal":
            return f"expected at most {context['le']:g}, got {given(value)}"
    return f"expected at least one entry, got {given(value)} without any" if kind == "too_short" else "is empty"


def _unknown(loc: Loc) -> Finding:
    """An unknown key: a near miss, a key of another section, or else the keys that exist here."""
    key = str(loc[-1])
    here = part_at(loc[:-1])
    known = list(here.model_fields) if here else []
    reason = f"unknown key {given(key)}"
    close = get_close_matches(key, known, 1)
    if close:
        return Finding(loc, reason, f'did you mean "{close[0]}"?', about=loc[:-1])
    homes = [
        name for name in Settings.model_fields if (part := part_at((name,))) is not None and key in part.model_fields
    ]
    if homes:
        brackets = "[[{}]]" if homes[0] in LIST_TABLES else "[{}]"
        return Finding(loc, reason, f"it belongs under {brackets.format(homes[0])}", about=loc[:-1])
    if key in Settings.model_fields:
        return Finding(loc, reason, "it belongs above the first [section]", about=loc[:-1])
    return Finding(loc, reason, f"the keys here are: {', '.join(known)}", about=loc[:-1])
