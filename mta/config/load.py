"""From files to settings: finds mta.toml, reads it with mta.d, its secrets and keys, and reports all that is wrong.

The only place where the configuration touches the disk or the environment. What a value may look like is in
`settings`, what contradicts what in `checks`; making keys and certificates is left to `mta init`.
"""

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mta.config.addresses import Relay
from mta.config.checks import contradictions
from mta.config.explain import Finding, findings, subject
from mta.config.in_force import ignored_keys
from mta.config.merge import Document, Merged, merge
from mta.config.positions import Loc
from mta.config.schema import FILE_KEYS, SECRET_KEYS
from mta.config.settings import Settings
from mta.config.values import Secret
from mta.errors import ConfigError, Problem

SYSTEM_CONFIG = Path("/etc/mta/mta.toml")

# Far above any configuration or key, far below what would hurt to read.
_MOST_OCTETS = 16 * 1024 * 1024

# Private keys are for their owner alone; secrets handed in by container platforms are often readable by everyone.
_BEYOND_OWNER = 0o077
_EVERYONE = 0o004


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used: `files` are those it was read from, `path` the first of them."""

    settings: Settings
    warnings: tuple[Problem, ...]
    path: Path
    files: tuple[Path, ...]


def find_config(explicit: str | None, environ: Mapping[str, str], cwd: Path, system: Path = SYSTEM_CONFIG) -> Path:
    """Return the file to load: the one named, else $MTA_CONFIG, mta.toml in `cwd`, /etc/mta/mta.toml.

    A named file is returned whether it exists or not. Hand in `Path()` as `cwd` for short names in messages.
    Raises ConfigError when none is named and none is there.
    """
    named = explicit or environ.get("MTA_CONFIG")
    if named:
        return cwd / named
    for candidate in (cwd / "mta.toml", system):
        try:
            if candidate.exists():
                return candidate
        except PermissionError:
            return candidate  # it is meant, and loading it will say why it cannot be read
    raise ConfigError(
        Problem(
            "",
            None,
            "",
            f"no configuration found: $MTA_CONFIG is not set, and neither ./mta.toml nor {system} exists",
            "run: mta init, or name a file with -c FILE",
        )
    )


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Return the settings of `path` and of mta.d/*.toml beside it, every path absolute and every secret read.

    Raises ConfigError with all problems of all files. Places are named by `path` as it was given.
    """
    documents = _documents(path)
    problems = [*_resolve(documents, environ)]
    merged, repeated = merge(documents)
    problems += repeated
    settings, merged, broken, faults = _validate(merged)
    problems += faults
    warnings: list[Problem] = []
    if settings:
        found = [*contradictions(settings, broken), *_files(settings, merged), *ignored_keys(settings)]
        data = merged.data
        for finding in found:
            (warnings if finding.is_warning else problems).append(_problem(finding, merged, data))
    order = {str(document.path): index for index, document in enumerate(documents)}
    unique = sorted(dict.fromkeys(problems), key=lambda problem: (order.get(problem.file, 0), problem.line or 0))
    if unique or settings is None:
        raise ConfigError(*unique)
    warnings.sort(key=lambda problem: (order.get(problem.file, 0), problem.line or 0))
    return Loaded(settings, tuple(warnings), path, tuple(document.path for document in documents))


def _documents(path: Path) -> list[Document]:
    """Read the files; those that cannot be read or are not TOML are all reported, and nothing else then."""
    folder = path.parent / "mta.d"
    paths = [path]
    problems: list[Problem] = []
    try:
        # Editors leave hidden files; they are not meant.
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.startswith("."))
        paths += [folder / name for name in names]
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        problems.append(Problem(str(folder), None, "", f"cannot be read: {_why(error)}", "make it readable for mta"))
    documents: list[Document] = []
    for each in paths:
        document = _document(each)
        if isinstance(document, Document):
            documents.append(document)
        else:
            problems.append(document)
    if problems:
        raise ConfigError(*problems)
    return documents


def _document(path: Path) -> Document | Problem:
    try:
        return Document.parse(path, _read(path))
    except FileNotFoundError:
        return Problem(str(path), None, "", "does not exist", "run: mta init, or name another file with -c FILE")
    except OSError as error:
        return Problem(str(path), None, "", f"cannot be read: {_why(error)}", "make it readable for the user of mta")


def _read(path: Path) -> bytes:
    """Return a regular file's octets; anything else (a pipe would wait for ever) is an OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a file")
    with path.open("rb") as file:
        octets = file.read(_MOST_OCTETS + 1)
    if len(octets) > _MOST_OCTETS:
        raise OSError(0, f"it is larger than {_MOST_OCTETS} octets")
    return octets


def _why(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _resolve(documents: list[Document], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Make every path absolute and read every secret, in place; yield what cannot be read."""
    main = documents[0]
    if not any(isinstance(part := each.data.get("secrets"), dict) and "keyring" in part for each in documents):
        section = main.data.setdefault("secrets", {})
        if isinstance(section, dict):
            section["keyring"] = {"file": "keyring.json"}
    for document in documents:
        folder = document.path.parent
        for pattern in FILE_KEYS:
            for _, holder, key in _matches(document.data, pattern):
                if isinstance(text := holder[key], str) and text and "\0" not in text:
                    holder[key] = folder.absolute() / text
        for pattern in SECRET_KEYS:
            for loc, holder, key in _matches(document.data, pattern):
                fault = _read_secret(holder, key, folder, environ)
                if fault:
                    if pattern[-1] == "relay":
                        # Already complained about; this only lets the other checks go on.
                        holder[key] = Relay("smtp", "unread.invalid", 25)
                    where = document.positions.line(loc)
                    yield Problem(str(document.path), where, subject(loc, document.data), *fault)


def _matches(data: dict[str, object], pattern: Loc) -> Iterator[tuple[Loc, dict[str, object], str]]:
    """Yield place, table and key for each value of a document that a pattern of `schema` names."""
    level: list[tuple[Loc, object]] = [((), data)]
    *outer, last = pattern
    for key in outer:
        below: list[tuple[Loc, object]] = []
        for loc, value in level:
            if key == "*" and isinstance(value, list):
                below += [((*loc, index), entry) for index, entry in enumerate(value)]
            elif isinstance(value, dict) and key in value:
                below.append(((*loc, key), value[key]))
        level = below
    for loc, value in level:
        if isinstance(value, dict) and last in value:
            yield (*loc, last), value, str(last)


def _read_secret(
    holder: dict[str, object], key: str, folder: Path, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """Put the secret that a { file = ... } or { env = ... } names in its place; return reason and remedy if not."""
    match holder[key]:
        case {"env": str() as name, **rest} if name and not rest:
            holder[key] = Secret(environ.get(name) or None, env=name)
            if name not in environ:
                return f"the environment variable {name} is not set", 'set it, or name a file: { file = "..." }'
            return None if environ[name] else (f"the environment variable {name} is empty", "give it a value")
        case {"file": str() as name, **rest} if name and "\0" not in name and not rest:
            path = folder.absolute() / name
            holder[key] = Secret(file=path)
            try:
                content = _read(path).decode("utf-8").strip("\r\n")
            except FileNotFoundError:
                made = "run: mta init, or copy it back from your backup" if key == "keyring" else "create it"
                return f'file "{name}" does not exist', made
            except UnicodeDecodeError:
                return f'file "{name}" is not UTF-8 text', "replace it"
            except OSError as error:
                return f'file "{name}" cannot be read: {_why(error)}', "name a file that the user of mta can read"
            if not content:
                return f'file "{name}" is empty', "put the secret into it"
            holder[key] = Secret(content, file=path)
    return None


def _validate(merged: Merged) -> tuple[Settings | None, Merged, tuple[Loc, ...], list[Problem]]:
    """Return settings from what is valid, the whole without the rest, the places of the rest, and its problems.

    Going on without the broken keys lets one run of `mta check` name everything.
    """
    data = merged.data
    try:
        return Settings.model_validate(data), merged, (), []
    except ValidationError as error:
        found = findings(error)
    faults = [_problem(finding, merged, data) for finding in found]
    broken = tuple(finding.loc for finding in found)
    remainder = merged.without(broken)
    try:
        settings = Settings.model_validate({"hostname": "mail.invalid", **remainder.data})
    except ValidationError:
        return None, remainder, broken, faults
    return settings, remainder, broken, faults


def _problem(finding: Finding, merged: Merged, data: Mapping[str, object]) -> Problem:
    document, line = merged.place(finding.loc)
    reason = finding.reason + (f", first at {merged.describe(finding.first)}" if finding.first else "")
    key = subject(finding.loc if finding.about is None else finding.about, data)
    return Problem(str(document.path), line, key, reason, finding.remedy)


def _files(settings: Settings, merged: Merged) -> Iterator[Finding]:
    """Look at every file the settings point to, and at the permissions of those that hold secrets."""
    for section, tls in (("submission", settings.submission.tls), ("http", settings.http.tls)):
        yield from _file(merged, (section, "tls", "cert"), tls.cert, _certificate)
        yield from _file(merged, (section, "tls", "key"), tls.key, _private_key)
    yield from _file(merged, ("delivery", "ca_file"), settings.delivery.ca_file, _certificate)
    for index, route in enumerate(settings.route):
        yield from _file(merged, ("route", index, "client_cert"), route.client_cert, _certificate, ("route", index))
        yield from _file(merged, ("route", index, "client_key"), route.client_key, _private_key, ("route", index))
    for index, domain in enumerate(settings.domain):
        for position, key in enumerate(domain.dkim or ()):
            loc: Loc = ("domain", index, "dkim", position, "key")
            yield from _file(merged, loc, key.key, _private_key, ("domain", index))
    yield from _keyring_mode(settings, merged)
    yield from _secrets_in_the_open(settings, merged)


def _file(
    merged: Merged,
    loc: Loc,
    path: Path | None,
    look: Callable[[Path, bytes], tuple[str, str] | None],
    about: Loc | None = None,
) -> Iterator[Finding]:
    if path is None:
        return
    name, shown = _names(merged, loc, path)
    subject_text = f'{loc[-1]} "{name}"' if about else f'"{name}"'
    try:
        fault = look(shown, _read(path))
    except FileNotFoundError:
        fault = ("does not exist", "create it, or correct the path (it counts from the folder of this file)")
    except OSError as error:
        fault = (f"cannot be read: {_why(error)}", "name a file that the user of mta can read")
    if fault:
        yield Finding(loc, f"{subject_text} {fault[0]}", fault[1], about=about)


def _names(merged: Merged, loc: Loc, path: Path) -> tuple[str, Path]:
    """Return a file's name as the configuration has it, and as a command run from here would."""
    folder = merged.place(loc)[0].path.parent
    try:
        name = path.relative_to(folder.absolute())
    except ValueError:
        return str(path), path
    return str(name), folder / name


def _certificate(shown: Path, octets: bytes) -> tuple[str, str] | None:
    if b"-----BEGIN CERTIFICATE-----" not in octets:
        return "holds no certificate in PEM form", "name a file with -----BEGIN CERTIFICATE----- in it"
    return None


def _private_key(shown: Path, octets: bytes) -> tuple[str, str] | None:
    too_open = _too_open(shown, _BEYOND_OWNER)
    if too_open:
        return too_open
    if b"PRIVATE KEY-----" not in octets:
        return "holds no private key in PEM form", "name a file with -----BEGIN PRIVATE KEY----- in it"
    if b"ENCRYPTED" in octets:
        return "is protected by a passphrase, which nobody could type in", "store the key without one, mode 600"
    return None


def _too_open(path: Path, mask: int) -> tuple[str, str] | None:
    mode = _mode(path) & mask
    if not mode:
        return None
    who = "everyone" if mode & 0o007 else "its group"
    return f"is readable by {who}", f"run: chmod 600 {shlex.quote(str(path))}"


def _mode(path: Path) -> int:
    """Return the permissions of a file that has been read; none if it has gone since."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _keyring_mode(settings: Settings, merged: Merged) -> Iterator[Finding]:
    path = settings.secrets.keyring.file
    # Missing or unreadable has been said when the secret was read.
    if path is None or settings.secrets.keyring.content is None:
        return
    loc: Loc = ("secrets", "keyring")
    name, shown = _names(merged, loc, path)
    fault = _too_open(shown, _BEYOND_OWNER)
    if fault:
        yield Finding(loc, f'"{name}" {fault[0]}', fault[1])


def _secrets_in_the_open(settings: Settings, merged: Merged) -> Iterator[Finding]:
    """A secret that stands in a file which everyone can read: an error where that is the configuration itself."""
    relays = ((("route", i, "relay"), route.relay.password) for i, route in enumerate(settings.route) if route.relay)
    hooks = (
        (("account", i, "webhook", "secret"), account.webhook.secret)
        for i, account in enumerate(settings.account)
        if account.webhook
    )
    what: tuple[Loc, Secret | None]
    for what in (*relays, *hooks):
        loc, secret = what
        if secret is None or secret.content is None:
            continue
        if secret.is_plain:
            path = merged.place(loc)[0].path
            if _mode(path) & _EVERYONE:
                remedy = f'run: chmod 600 {shlex.quote(str(path))}, or write it as {{ file = "..." }}'
                yield Finding(loc, "a secret stands here, and the file is readable by everyone", remedy)
        elif secret.file and _mode(secret.file) & _EVERYONE:
            name, shown = _names(merged, loc, secret.file)
            remedy = f"run: chmod 600 {shlex.quote(str(shown))}"
            yield Finding(loc, f'"{name}" is readable by everyone', remedy, is_warning=True)
