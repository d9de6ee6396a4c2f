"""`mta dkim`: the keys that sign, and new ones."""

from pathlib import Path
from typing import Any

import click

from mta import assembly
from mta.cli.app import EX_CANTCREAT, EX_DATAERR, EX_NO, App, command, fail, json_option
from mta.dkim import keys
from mta.dkim.keys import SigningKey
from mta.mail.address import parse_domain


@click.group("dkim")
def dkim() -> None:
    """The keys that sign, and new ones."""


@dkim.command("list")
@json_option
@command
def list_keys(app: App, as_json: bool) -> None:
    """Show the keys that are configured, with the names to publish them under."""
    rows: list[dict[str, Any]] = []
    for domain in app.loaded().settings.domain:
        for entry in domain.dkim or ():
            key = assembly.signing_key(domain, entry)
            rows.append(
                {
                    "domain": domain.name,
                    "selector": key.selector,
                    "algorithm": key.algorithm.value,
                    "bits": key.bits,
                    "file": str(entry.key),
                    "dns_name": key.dns_name,
                    "dns_record": key.dns_record,
                }
            )
        if not domain.dkim:
            rows.append({"domain": domain.name, "selector": "unsigned on purpose" if domain.dkim == () else "NO KEY"})
    app.output(json=as_json).rows(
        rows, ["domain", "selector", "algorithm", "bits", "dns_name", "file"], "no domain is configured"
    )


@dkim.command("keygen")
@click.argument("domain")
@click.option("--selector", help="The key's name in DNS [default: r1 or e1, or the next free number].")
@click.option(
    "--algorithm",
    type=click.Choice(["rsa", "ed25519"]),
    default="rsa",
    show_default=True,
    help="Every receiver can check rsa.",
)
@json_option
@command
def keygen(app: App, domain: str, selector: str | None, algorithm: str, as_json: bool) -> None:
    """Make a key for DOMAIN.

    It is put beside the configuration, which it does not change: what to put into mta.toml and into DNS is printed.
    """
    loaded = app.loaded()
    try:
        name = parse_domain(domain)
    except ValueError as error:
        fail(str(error), EX_DATAERR)
    folder = loaded.path.parent / "dkim"
    configured = next((each for each in loaded.settings.domain if each.name == name), None)
    taken = {entry.selector.lower() for entry in (configured.dkim or () if configured else ())}
    chosen = selector or _free_selector("r" if algorithm == "rsa" else "e", folder, name, taken)
    pem = keys.generate_rsa() if algorithm == "rsa" else keys.generate_ed25519()
    try:
        key = SigningKey.parse(name, chosen, pem)
    except ValueError as error:
        fail(str(error), EX_DATAERR)
    path = folder / f"{name}.{key.selector}.pem"
    if path.exists() or key.selector in taken:
        fail(f"selector {key.selector!r} of {name} is taken ({path}); choose another --selector", EX_NO)
    _write(path, pem, f"run this as the owner of {loaded.path}")
    # a path counts from the file that names it, and in mta.d that is another folder
    file = str(path.absolute()) if len(loaded.files) > 1 else f"dkim/{path.name}"
    entry = f'{{ selector = "{key.selector}", key = "{file}" }}'
    output = app.output(json=as_json)
    if output.is_json:
        output.record({"file": str(path), "dns_name": key.dns_name, "dns_record": key.dns_record, "entry": entry})
        return
    output.line(f"made {path}")
    output.line()
    output.line("publish:")
    output.line(key.zone_line())
    output.line()
    if configured:
        output.line(f'then add to the dkim list of [[domain]] "{name}", and run mta reload:')
        output.line(f"  {entry},")
    else:
        output.line(f"then add to {loaded.path}, and run mta reload:")
        output.line("[[domain]]")
        output.line(f'name = "{name}"')
        output.line(f"dkim = [{entry}]")


def _write(path: Path, pem: bytes, remedy: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(pem)
    except OSError as error:
        fail(f"{path}: {error.strerror}; {remedy}", EX_CANTCREAT)


def _free_selector(letter: str, folder: Path, domain: str, taken: set[str]) -> str:
    number = 1
    while f"{letter}{number}" in taken or (folder / f"{domain}.{letter}{number}.pem").exists():
        number += 1
    return f"{letter}{number}"
