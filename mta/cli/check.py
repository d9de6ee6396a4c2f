"""`mta check`: the configuration and everything it points to, validated."""

import click

from mta.cli.app import EX_CONFIG, EX_NO, App, command, json_option
from mta.errors import ConfigError, Problem


@click.command("check")
@click.option("--strict", is_flag=True, help="Exit 1 when there are warnings.")
@json_option
@command
def check(app: App, strict: bool, as_json: bool) -> None:
    """Validate the configuration and all files it names. Exit 78 for errors; warnings alone exit 0."""
    output = app.output(json=as_json)
    try:
        loaded = app.loaded()
    except ConfigError as error:
        for problem in error.problems:
            _print(output.is_json, "error", problem, app)
        raise SystemExit(EX_CONFIG) from None
    for problem in loaded.warnings:
        _print(output.is_json, "warning", problem, app)
    settings = loaded.settings
    output.line(
        f"{loaded.path}: ok: {settings.hostname}, {len(settings.domain)} domains, {len(settings.account)} accounts"
        + (f", {len(loaded.warnings)} warnings" if loaded.warnings else "")
    )
    raise SystemExit(EX_NO if strict and loaded.warnings else 0)


def _print(as_json: bool, severity: str, problem: Problem, app: App) -> None:
    if as_json:
        app.output(json=True).record(
            {
                "severity": severity,
                "file": problem.file,
                "line": problem.line,
                "key": problem.key,
                "reason": problem.reason,
                "remedy": problem.remedy,
            }
        )
    else:
        click.echo(f"{severity}: {problem}", err=severity == "error")
