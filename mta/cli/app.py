"""What every command needs: the configuration, the way to the server, and how failures become exit codes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from os import environ
from pathlib import Path
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

import click

from mta.cli.output import Output
from mta.config.load import Loaded, find_config, load
from mta.control.client import Client
from mta.control.protocol import CommandFailed
from mta.errors import ConfigError, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

EX_OK, EX_NO, EX_USAGE = 0, 1, 2
EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG = 65, 69, 75, 78


@dataclass(slots=True)
class App:
    """One invocation of `mta`."""

    config_option: str | None
    json: bool = False
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
        return Client(self.loaded().settings.data_dir / "control.sock")

    def output(self, *, json: bool = False) -> Output:
        """Return where results are printed."""
        return Output(sys.stdout, json=self.json or json)


pass_app = click.make_pass_decorator(App)


def command(function: Callable[Concatenate[App, P], T]) -> Callable[P, T]:
    """Give a command the `App`, and turn its failures into a message on stderr and an exit code."""

    @pass_app
    @wraps(function)
    def run(app: App, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(app, *args, **kwargs)
        except ConfigError as error:
            fail(str(error), EX_CONFIG)
        except CommandFailed as failure:
            fail(failure.text, failure.exit_code)
        except StoreUnavailable as trouble:
            fail(f"the store cannot be read: {trouble}", EX_TEMPFAIL)

    return run


def fail(text: str, exit_code: int) -> NoReturn:
    """End the command with a message for the operator."""
    click.echo(f"mta: {text}" if "\n" not in text else text, err=True)
    raise SystemExit(exit_code)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (lists as JSON Lines).")
