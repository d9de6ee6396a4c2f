"""`mta check`: the configuration and everything it points to, validated."""

import asyncio

import click

from mta.cli.app import EX_CONFIG, EX_NO, App, command, json_option
from mta.cli.output import Output
from mta.clock import SystemClock
from mta.errors import ConfigError, Problem
from mta.inspection import inspect


@click.command("check")
@click.option("--strict", is_flag=True, help="Exit 1 when there are warnings.")
@json_option
@command
def check(app: App, strict: bool, as_json: bool) -> None:
    """Validate the configuration and all that it points to.

    Exit 78 for errors, which `mta serve` refuses too; warnings alone exit 0.
    """
    output = app.output(json=as_json)
    try:
        loaded = app.loaded()
    except ConfigError as error:
        _report(output, error.problems, "error")
        raise SystemExit(EX_CONFIG) from None
    report = asyncio.run(inspect(loaded.settings, SystemClock()))
    warnings = (*loaded.warnings, *report.warnings)
    _report(output, report.errors, "error")
    _report(output, warnings, "warning")
    if report.errors:
        raise SystemExit(EX_CONFIG)
    settings = loaded.settings
    counted = [_counted(len(settings.domain), "domain"), _counted(len(settings.account), "account")]
    if warnings:
        counted.append(_counted(len(warnings), "warning"))
    output.line(f"{loaded.path}: ok: {settings.hostname}, {', '.join(counted)}")
    raise SystemExit(EX_NO if strict and warnings else 0)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _report(output: Output, problems: tuple[Problem, ...], severity: str) -> None:
    for problem in problems:
        if output.is_json:
            output.record(
                {
                    "severity": severity,
                    "file": problem.file,
                    "line": problem.line,
                    "key": problem.key,
                    "reason": problem.reason,
                    "remedy": problem.remedy,
                }
            )
        output.line(f"{severity}: {problem}")
