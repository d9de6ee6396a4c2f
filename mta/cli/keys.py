"""`mta keys`: the keyring that tokens are made with."""

import os
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path

import click

from mta import assembly
from mta.cli.app import (
    EX_CANTCREAT,
    EX_CONFIG,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    App,
    command,
    fail,
    json_option,
)
from mta.control.protocol import CommandFailed
from mta.mail.token import Key, Keyring


@click.group("keys")
def keys() -> None:
    """The keyring: what return paths and other tokens are made and proved with."""


@keys.command("list")
@json_option
@command
def list_keys(app: App, as_json: bool) -> None:
    """Show the keys, oldest first. The last one makes tokens, all of them prove tokens. No secret is shown."""
    ring = assembly.keyring(app.loaded().settings)
    rows = [
        {"id": key.id, "created": key.created.isoformat(timespec="seconds"), "makes_tokens": key == ring.newest}
        for key in ring.keys
    ]
    app.output(json=as_json).rows(rows, ["id", "created", "makes_tokens"])


@keys.command("rotate")
@json_option
@command
def rotate(app: App, as_json: bool) -> None:
    """Add a key that makes tokens from now on; the older ones go on proving what is in flight.

    Copy the file to every node, and to its backup.
    """
    path = app.loaded().settings.secrets.keyring.file
    if path is None:
        fail("secrets.keyring is in an environment variable: make the new keyring where that is set", EX_CONFIG)
    newest = _add_key(path.resolve())
    output = app.output(json=as_json)
    trouble = _reloaded(app)
    if output.is_json:
        output.record({"id": newest.id, "file": str(path), "in_use": trouble is None})
    output.line(f"key {newest.id} makes tokens from now on; back up {path}")
    if trouble is None:
        return
    if trouble.exit_code == EX_UNAVAILABLE:
        output.line("no server runs here; one that starts takes it up")
        return
    fail(f"the running server did not take it up, and uses the keys it had: {trouble.text}", trouble.exit_code)


def _reloaded(app: App) -> CommandFailed | None:
    """Let a running server use the keyring; return why it does not."""
    try:
        app.client().one("reload")
    except CommandFailed as failure:
        return failure
    return None


def _add_key(path: Path) -> Key:
    """Write the keyring whole with one more key, under the rights and the owner that it has, or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        before = path.stat()
        # while it is there, nobody else rotates: of two at the same time one key would be lost
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{fresh} is there: another rotation is under way, or was cut off; then remove that file", EX_TEMPFAIL)
    except OSError as error:
        fail(f"{path}: {error.strerror}; nothing was changed: run this as its owner", EX_CANTCREAT)
    try:
        with os.fdopen(descriptor, "w") as stream:
            ring = Keyring.parse(path.read_text()).with_new(secrets.token_bytes(32), datetime.now(UTC))
            stream.write(ring.dump())
            stream.flush()
            if os.geteuid() == 0:
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            os.fsync(descriptor)
        fresh.replace(path)
        _sync(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        fail(f"{path}: {error.strerror}; nothing was changed", EX_CANTCREAT)
    except ValueError as error:
        fresh.unlink(missing_ok=True)
        fail(f"{path}: {error}; nothing was changed: copy it back from your backup", EX_CONFIG)
    return ring.newest


def _sync(folder: Path) -> None:
    """Make the new name last: tokens of a key that a power cut takes away would prove nothing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
