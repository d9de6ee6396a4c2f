"""Whatever stands in the file, loading gives settings or a ConfigError."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings, strategies

from mta.config.load import load
from mta.config.schema import LIST_TABLES, keys_of
from mta.config.settings import Settings
from mta.errors import ConfigError

KEYS = sorted(keys_of(Settings), key=str)
WORDS = "|x|5m|4d|25MB|5%|1/h|*|a.example|smtp://a:b@c|127.0.0.1:0|[::]:25|10.0.0.0/8|auto|require|keyring.json|../.."
TEXTS = strategies.sampled_from([*WORDS.split("|"), "\0", "é.example", "a@b.example", "9" * 400, "2026-12-01"])
SCALARS = strategies.one_of(
    TEXTS.map(json.dumps), strategies.integers().map(str), strategies.sampled_from(["true", "nan", "inf", "1.5", "{}"])
)
TABLES = strategies.builds(
    lambda key, value: "{ " + f"{key} = {value}" + " }",
    strategies.sampled_from(["file", "env", "cert", "warn", "bulk", "selector", "url", "name", "x"]),
    SCALARS,
)
VALUES = strategies.one_of(
    SCALARS, TABLES, strategies.lists(strategies.one_of(SCALARS, TABLES), max_size=3).map(lambda x: f"[{', '.join(x)}]")
)


@strategies.composite
def _files(draw: strategies.DrawFn) -> str:
    """Known keys with values of any kind, each key once, so that most of it is TOML."""
    chosen = draw(strategies.lists(strategies.sampled_from(KEYS), unique_by=lambda key: key[0], max_size=6))
    top: list[str] = []
    below = []
    for loc in chosen:
        name, *rest = (str(key) for key in loc if key != "*")
        value = draw(VALUES)
        if not rest:
            top.append(f"{name} = {value}")
        else:
            header = f"[[{name}]]" if name in LIST_TABLES and draw(strategies.booleans()) else f"[{name}]"
            below += [header, f"{'.'.join(rest)} = {value}"]
    return "\n".join([*top, *below])


@settings(deadline=None, max_examples=150)
@given(_files(), _files(), strategies.booleans())
def test_any_values_at_any_keys_are_taken_or_explained(first: str, second: str, has_host: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mta.d").mkdir()
        (folder / "mta.toml").write_text(('hostname = "h.example"\n' if has_host else "") + first, "utf-8")
        (folder / "mta.d" / "more.toml").write_text(second, "utf-8")
        (folder / "keyring.json").write_text("{}")
        (folder / "keyring.json").chmod(0o600)
        try:
            loaded = load(folder / "mta.toml", {})
        except ConfigError as error:
            assert error.problems and all(problem.reason for problem in error.problems)  # noqa: PT017, PT018  the claim
        else:
            assert loaded.settings.hostname


@settings(deadline=None)
@given(strategies.binary())
def test_any_octets_are_taken_or_explained(octets: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mta.toml"
        path.write_bytes(octets)
        try:
            load(path, {})
        except ConfigError as error:
            assert str(error).startswith(str(path))  # noqa: PT017  either branch is right, this one says more
