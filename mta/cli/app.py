"""What every command needs: the configuration, the way to the server, and how failures become exit codes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from os import environ
from pathlib import Path
from traceback import extract_tb
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

import click

from mta.cli.output import Output
from mta.config.load import Loaded, find_config, load
from mta.control.client import Client
from mta.control.protocol import CommandFailed
from mta.errors import ConfigError, MtaError, StoreUnavailable
from mta.inspection import SOCKET
from mta.mail.reply import clean

P = ParamSpec("P")
T = TypeVar("T")

# sysexits.h, but for 1 (a negative answer) and 2 (what click says of wrong usage)
EX_OK, EX_NO, EX_USAGE = 0, 1, 2
EX_DATAERR, EX_UNAVAILABLE, EX_SOFTWARE, EX_CANTCREAT, EX_IOERR = 65, 69, 70, 73, 74
EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 75, 77, 78


@dataclass(slots=True)
class App:
    """One invocation of `mta`."""

    config_option: str | None
    _loaded: Loaded | None = field(default=None, repr=False)

    def loaded(self) -> Loaded:
        """Return the configuration, read once.

        Raises:
            ConfigError: it cannot be used.
        """
        if self._loaded is None:
            self._loaded = load(find_config(self.config_option, environ, Path.cwd()), environ)
        return self._loaded

    def client(self) -> Client:
        """Return the way to the running server."""
        return Client(self.loaded().settings.data_dir / SOCKET)

    def output(self, *, json: bool) -> Output:
        """Return where results are printed."""
        return Output(sys.stdout, json=json)


pass_app = click.make_pass_decorator(App)


def command(function: Callable[Concatenate[App, P], T]) -> Callable[P, T]:
    """Give a command the `App`, and turn its failures into a message on stderr and an exit code."""

    @pass_app
    @wraps(function)
    def run(app: App, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(app, *args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows what to do with its own, and with a reader who has seen enough
        except Exception as error:
            fail(*explain(error))

    return run


def explain(error: Exception) -> tuple[str, int]:
    """Return what an operator is told of an exception, and the exit code."""
    match error:
        case ConfigError():
            return str(error), EX_CONFIG
        case CommandFailed():
            return error.text, error.exit_code
        case StoreUnavailable():
            return f"the store cannot be used: {error}", EX_TEMPFAIL
        case MtaError():
            return str(error), EX_TEMPFAIL
        case PermissionError():
            return f"{_about(error)}; run this as root or the server's user", EX_NOPERM
        case OSError():
            return _about(error), EX_IOERR
        case _:
            place = extract_tb(error.__traceback__)[-1]
            name = type(error).__name__
            return f"a mistake in mta itself: {name}: {error} ({place.filename}:{place.lineno})", EX_SOFTWARE


def fail(text: str, exit_code: int) -> NoReturn:
    """End the command with a message for the operator."""
    lines = [clean(line) for line in text.split("\n")]
    click.echo("\n".join(lines if len(lines) > 1 else [f"mta: {lines[0]}"]), err=True)
    raise SystemExit(exit_code)


def _about(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename is not None else said


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (lists as JSON Lines).")
