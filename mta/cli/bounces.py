"""`mta bounces`: what came back, and what replies mean."""

import base64
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import click

from mta.bounces.classify import Classifier
from mta.bounces.letter import MAX_SIZE
from mta.bounces.quoted import quote
from mta.bounces.reading import read
from mta.bounces.report import Classification, Kind, Report, ReportedRecipient
from mta.bounces.rules import Rules, RulesError
from mta.cli.app import EX_CANTCREAT, EX_CONFIG, EX_DATAERR, EX_NO, App, command, fail, json_option
from mta.cli.output import Output
from mta.cli.reading import read as read_store
from mta.cli.times import Moment
from mta.mail.reply import EnhancedStatus, clean
from mta.queue.returned import ReturnNote
from mta.storage.withheld import withheld

LETTERS = ("postmaster", "abuse")
"""What people write to us."""
SHIPPED = "rules.toml"
EX_NOINPUT = 66

_MAX_LINE = 64 * 1024
_REPLY = re.compile(r"([245][0-9]{2})(?:[ -]|$)")

rules_option = click.option(
    "--rules",
    "rules_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Rules to use instead of the shipped ones.",
)


@click.group("bounces")
def bounces() -> None:
    """What came back, and what replies mean."""


since_option = click.option("--since", type=Moment(), metavar="WHEN", help='"2h" ago, or an ISO 8601 time (UTC).')
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many."
)


@bounces.command("list")
@click.option("--kind", type=click.Choice([*(kind.value for kind in Kind), *LETTERS]), help="Of one kind.")
@since_option
@limit_option
@json_option
@command
def list_returns(app: App, kind: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show what came back, newest first: bounces, complaints, vacations, and letters to postmaster and abuse."""
    notes = read_store(app, lambda reader: reader.returns(kind, since, limit + 1))
    columns = ["time", "kind", "effect", "account", "recipient", "reason", "text", "id"]
    _show(app.output(json=as_json), notes, columns, limit, "nothing came back")


@bounces.command("rejected")
@since_option
@limit_option
@json_option
@command
def rejected(app: App, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show feedback reports without a token of ours, newest first: forged, or of a sender that cut it off."""
    notes = read_store(app, lambda reader: reader.rejected_reports(since, limit + 1))
    _show(app.output(json=as_json), notes, ["time", "kind", "reason", "text", "id"], limit, "nothing was rejected")


@bounces.command("withheld")
@json_option
@command
def withheld_bounces(app: App, as_json: bool) -> None:
    """Show hard bounces that suppress nobody and count in no ratio yet: their site bounces far more than usual."""
    rows = [
        {
            "site": row.site,
            "account": row.account,
            "stream": row.stream,
            "bounces": row.count,
            "since": row.since.isoformat(timespec="seconds"),
            "latest": row.latest.isoformat(timespec="seconds"),
        }
        for row in read_store(app, withheld)
    ]
    output = app.output(json=as_json)
    output.rows(rows, ["site", "account", "stream", "bounces", "since", "latest"], "no bounce is withheld")
    if rows:
        output.line()
        output.line(
            "If what a site says is true: mta bounces apply SITE; if not: mta bounces discard SITE. "
            "They are applied by themselves when the site bounces as usual again."
        )


@bounces.command("apply")
@click.argument("site")
@click.option("--reason", required=True, help="Kept in the audit.")
@json_option
@command
def apply(app: App, site: str, reason: str, as_json: bool) -> None:
    """Believe bounces of SITE that were withheld: addresses are suppressed, and ratios count.

    Those who were delivered to in the meantime stay out of it. Its bounces are believed until they were usual again.
    """
    row = app.client().one("bounces.apply", site=site, reason=reason)
    _decided(app.output(json=as_json), row, "are believed, and will have their effect in a moment")


@bounces.command("discard")
@click.argument("site")
@click.option("--reason", required=True, help="Kept in the audit.")
@json_option
@command
def discard(app: App, site: str, reason: str, as_json: bool) -> None:
    """Forget bounces of SITE that were withheld: they suppress nobody, and count in no ratio.

    The deliveries have bounced all the same; their submitters were told. What SITE bounces from now on is withheld as
    before.
    """
    row = app.client().one("bounces.discard", site=site, reason=reason)
    _decided(app.output(json=as_json), row, "are forgotten")


def _decided(output: Output, row: Mapping[str, Any], what: str) -> None:
    if output.is_json:
        output.record(row)
    if not row["bounces"]:
        fail(f"no bounce of {row['site']} is withheld; mta bounces withheld shows all", EX_NO)
    output.line(f"{row['bounces']} bounces of {row['site']} {what}")


@bounces.command("letter")
@click.argument("id")
@click.option(
    "-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="A new file [standard output]."
)
@json_option
@command
def letter(app: App, id: str, file: Path | None, as_json: bool) -> None:
    """Print a letter to postmaster or abuse as it came; `mta bounces list` has its ID.

    On a terminal, letters that it would obey are replaced.
    """
    note = read_store(app, lambda reader: reader.letter(id))
    if note is None:
        fail(f"nothing that came back has the id {id!r}; mta bounces list shows all", EX_NO)
    if note.octets is None:
        fail(f"{id} is no letter but a report ({note.kind}); its content is not kept", EX_NO)
    if file is not None:
        _write(file, note.octets)
    output = app.output(json=as_json)
    if output.is_json:
        content = {} if file is not None else {"base64": base64.b64encode(note.octets).decode("ascii")}
        output.record(_noted(note) | content)
    elif file is not None:
        output.line(f"{file}: {len(note.octets)} octets")
    elif sys.stdout.isatty():
        for line in note.octets.decode("utf-8", "replace").splitlines():
            output.line(line)
    else:
        sys.stdout.buffer.write(note.octets)


@bounces.command("classify")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--reply", "replies", multiple=True, metavar="'550 5.1.1 …'", help="Classify an SMTP reply instead.")
@rules_option
def classify(files: tuple[Path, ...], replies: tuple[str, ...], rules_file: Path | None) -> None:
    """Say what messages that came back mean: one JSON object a FILE. Without FILE, or for -, stdin is read."""
    rules = load_rules(rules_file)
    output = Output(sys.stdout, json=True)
    for reply in replies:
        output.record(_reply(reply, Classifier(rules)))
    missing = 0
    for file in files or (() if replies else (Path("-"),)):
        try:
            octets = _octets(file)
        except OSError as error:
            click.echo(f"mta: {file}: {error.strerror}", err=True)
            missing += 1
            continue
        output.record({"file": clean(file.name), **_as_json(read(octets, rules))})
    if missing:
        raise SystemExit(EX_NOINPUT)


@bounces.command("classify-replies")
@rules_option
def classify_replies(rules_file: Path | None) -> None:
    """Say what SMTP replies mean: {id, smtp_code, status, text} as JSON Lines in, {id, reason, hardness} out."""
    classifier = Classifier(load_rules(rules_file))
    output = Output(sys.stdout, json=True)
    bad = 0
    for number, line in enumerate(_lines(), 1):
        try:
            asked = json.loads(line)
            text = asked.get("text") or ""
            # a reply's own words may carry the codes, too
            quoted = quote(text)
            code, status = asked.get("smtp_code"), asked.get("status")
            meaning = classifier.reply(
                int(code) if code else quoted.code, EnhancedStatus.parse(status) if status else quoted.status, text
            )
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            click.echo(f"mta: line {number}: {error}", err=True)
            bad += 1
            continue
        # whatever it is, it goes back; but half a character cannot be printed
        name = asked.get("id")
        output.record({"id": clean(name) if isinstance(name, str) else name, **_meaning(meaning)})
    if bad:
        fail(f"{bad} lines are no replies; write one object with id, smtp_code, status and text a line", EX_DATAERR)


def load_rules(file: Path | None) -> Rules:
    """Read rules from a file, or the shipped ones; ends the command when they cannot be used."""
    try:
        source = file if file is not None else resources.files("mta.bounces").joinpath(SHIPPED)
        return Rules.parse(source.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{file}: {error.strerror}", EX_NOINPUT)
    except (RulesError, UnicodeDecodeError) as error:
        fail(f"{file or SHIPPED}: {error}", EX_CONFIG)


def _show(output: Output, notes: list[ReturnNote], columns: list[str], limit: int, empty: str) -> None:
    output.rows([_noted(note) for note in notes[:limit]], columns, empty)
    if len(notes) > limit:
        output.line(f"… and more; --limit shows up to {limit * 10} of them")


def _noted(note: ReturnNote) -> dict[str, Any]:
    is_letter = note.kind in LETTERS
    return {
        "id": note.id,
        "time": note.at.isoformat(timespec="seconds"),
        "kind": note.kind,
        "effect": note.effect,
        "account": note.account,
        "stream": note.stream,
        "queue_id": note.queue_id,
        "delivery_id": note.delivery_id,
        "recipient": None if is_letter else note.recipient,
        "from": note.recipient if is_letter else None,
        "reason": note.reason,
        "hardness": note.hardness,
        "text": note.text,
    }


def _write(file: Path, octets: bytes) -> None:
    """Write a new file that nobody else may read: staff's mail is nobody else's."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(octets)
    except OSError as error:
        fail(f"{file}: {error.strerror}", EX_CANTCREAT)


def _octets(file: Path) -> bytes:
    # one more than can be read: what is too large is found out without reading it all
    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_SIZE + 1)
    with file.open("rb") as stream:
        return stream.read(MAX_SIZE + 1)


def _lines() -> Iterator[str]:
    for line in sys.stdin.buffer:
        if line.strip():
            yield line[:_MAX_LINE].decode("utf-8", "replace")


def _reply(text: str, classifier: Classifier) -> dict[str, Any]:
    quoted = quote(text)
    leading = _REPLY.match(text.strip())
    code = int(leading[1]) if leading else quoted.code
    meaning = classifier.reply(code, quoted.status, text)
    return {"reply": clean(text), "smtp_code": _code(code), "status": _status(quoted.status), **_meaning(meaning)}


def _as_json(report: Report) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": report.kind.value,
        "recipients": [_recipient(recipient) for recipient in report.recipients],
        "reason": report.reason,
        "original_message_id": report.original_message_id,
        "envelope_id": report.envelope_id,
        "note": report.note,
    }
    if report.feedback is not None:
        row["feedback"] = {name: getattr(report.feedback, name) for name in report.feedback.__dataclass_fields__}
    return {key: value for key, value in row.items() if value is not None}


def _recipient(recipient: ReportedRecipient) -> dict[str, Any]:
    return {
        "address": recipient.address,
        "action": recipient.action.value if recipient.action else None,
        "status": _status(recipient.status),
        "smtp_code": _code(recipient.smtp_code),
        **_meaning(recipient.classification),
        "diagnostic": recipient.diagnostic or None,
        "remote_mta": recipient.remote_mta,
    }


def _meaning(meaning: Classification) -> dict[str, str | None]:
    return {
        "reason": meaning.reason.value if meaning.reason else None,
        "hardness": meaning.hardness.value if meaning.hardness else None,
    }


def _status(status: EnhancedStatus | None) -> str | None:
    return str(status) if status is not None else None


def _code(code: int | None) -> str | None:
    return str(code) if code is not None else None
