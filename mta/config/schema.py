"""What the models of `settings` say about keys: which there are, what stands where, which name files and secrets.

A place is the way to a value; "*" stands for each index of a list of tables.
"""

from collections.abc import Iterator
from typing import get_args, get_origin

from mta.config.positions import Loc
from mta.config.settings import Part, Settings


def keys_of(part: type[Part], loc: Loc = ()) -> Iterator[Loc]:
    """Yield the place of every key below a part, "*" standing for each index of a list of tables."""
    for name, info in part.model_fields.items():
        inner, is_list = _part_in(info.annotation)
        yield (*loc, name)
        if inner:
            yield from keys_of(inner, (*loc, name, "*") if is_list else (*loc, name))


def part_at(loc: Loc) -> type[Part] | None:
    """Return the model that stands at a place (indexes may be numbers or "*"), or None for a plain value."""
    part: type[Part] | None = Settings
    for key in loc:
        if isinstance(key, int) or key == "*":
            continue
        info = part.model_fields.get(key) if part else None
        part = _part_in(info.annotation)[0] if info else None
    return part


def _part_in(annotation: object) -> tuple[type[Part] | None, bool]:
    """Find the model in "X", "X | None" or "tuple[X, ...]"; the flag says that it is in a tuple."""
    if isinstance(annotation, type) and not get_args(annotation):
        return (annotation, False) if issubclass(annotation, Part) else (None, False)
    for argument in get_args(annotation):
        found, nested = _part_in(argument)
        if found:
            is_tuple = get_origin(annotation) is tuple
            return found, nested or is_tuple
    return None, False


FILE_KEYS: tuple[Loc, ...] = (
    ("data_dir",),
    ("submission", "tls", "cert"),
    ("submission", "tls", "key"),
    ("http", "tls", "cert"),
    ("http", "tls", "key"),
    ("delivery", "ca_file"),
    ("route", "*", "client_cert"),
    ("route", "*", "client_key"),
    ("domain", "*", "dkim", "*", "key"),
)
"""Keys that name a file or folder, relative to the folder of the file in which they stand."""

SECRET_KEYS: tuple[Loc, ...] = (
    ("route", "*", "relay"),
    ("account", "*", "password_hash"),
    ("account", "*", "scram"),
    ("account", "*", "webhook", "secret"),
    ("secrets", "keyring"),
)
"""Keys whose value may be { file = "..." } or { env = "..." }."""


LIST_TABLES = ("route", "shaping", "source", "domain", "account")
"""The keys written as [[tables]], whose entries several files may add to."""
