"""`mta dns`: the records to publish, exactly as they go into a zone file."""

from dataclasses import dataclass

import click

from mta import assembly
from mta.cli.app import EX_DATAERR, EX_NO, App, command, fail, json_option
from mta.config.settings import DomainEntry, Settings
from mta.mail.address import parse_domain

SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class Record:
    """One DNS record and why it is wanted."""

    name: str
    type: str
    value: str
    why: str
    zone_line: str


def _record(name: str, kind: str, value: str, why: str) -> Record:
    shown = f'"{value}"' if kind == "TXT" else value
    return Record(name, kind, value, why, f"{name}. IN {kind} {shown}")


def records(settings: Settings, domain: DomainEntry) -> list[Record]:
    """Return what has to be published for one sending domain, in the order of their weight."""
    host = settings.hostname
    bounce = domain.return_path or settings.inbound.return_path_domain or settings.hostname
    wanted = []
    for entry in domain.dkim or ():
        key = assembly.signing_key(domain, entry)
        why = f"receivers check our {key.algorithm.value} signatures with it"
        wanted.append(Record(key.dns_name, "TXT", key.dns_record, why, key.zone_line()))
    wanted += [
        _record(bounce, "TXT", f"v=spf1 a:{host} -all", "SPF: the reverse-path of all our mail is in this domain"),
        _record(bounce, "MX", f"10 {host}.", "bounces and complaints come back here, to the listener of [inbound]"),
        _record(domain.name, "TXT", f"v=spf1 a:{host} ~all", "SPF of the From domain; merge it with what is there"),
        _record(
            f"_dmarc.{domain.name}",
            "TXT",
            f"v=DMARC1; p=none; rua=mailto:postmaster@{domain.name}",
            "DMARC: begin with p=none, read the reports, then go to quarantine and reject",
        ),
    ]
    return wanted


@click.command("dns")
@click.argument("domain", required=False)
@json_option
@command
def dns(app: App, domain: str | None, as_json: bool) -> None:
    """Print the records to publish for DOMAIN (default: all domains that are configured)."""
    settings = app.loaded().settings
    try:
        wanted = parse_domain(domain) if domain else None
    except ValueError as error:
        fail(str(error), EX_DATAERR)
    chosen = [each for each in settings.domain if wanted in (None, each.name)]
    if not chosen:
        fail(f"{domain or 'no domain'} is not configured; add a [[domain]] to mta.toml", EX_NO)
    output = app.output(json=as_json)
    for each in chosen:
        output.line(f"; --- {each.name}")
        if each.dkim is None:
            output.line(f"; there is no DKIM key yet, and mail is held for want of one: mta dkim keygen {each.name}")
        for record in records(settings, each):
            output.line(f"; {record.why}")
            if output.is_json:
                row = {"domain": each.name, "name": record.name, "type": record.type, "value": record.value}
                output.record({**row, "why": record.why, "zone_line": record.zone_line})
            output.line(record.zone_line)
    feedback = settings.inbound.feedback_address.rpartition("@")[2]
    output.line(f"; --- feedback loops: register {settings.inbound.feedback_address}")
    if feedback not in {record.name for each in chosen for record in records(settings, each) if record.type == "MX"}:
        output.line(
            f"; its domain has an MX record that leads here, such as: {feedback}. IN MX 10 {settings.hostname}."
        )
    if all(listen.port != SMTP_PORT for listen in settings.inbound.listen):
        listening = ", ".join(map(str, settings.inbound.listen)) or "nothing"
        output.line(f"; --- what comes back comes to port {SMTP_PORT}, but inbound.listen has {listening}: forward")
        output.line("; the port to it, or no bounce and no complaint is ever heard of")
    output.line(f"; --- this machine: {settings.hostname}")
    output.line("; its A and AAAA records name the addresses that mail leaves from, and the PTR record of each")
    output.line("; address, set by whoever gave you the address, names it back")
    output.line(f"; {settings.hostname}. IN A <address>      <address> -> {settings.hostname}.")
