"""What a running server does when it is asked over the control socket."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from mta.accounts.account import Account, Directory
from mta.accounts.password import generate_secret, hash_password
from mta.accounts.scram import SALT_OCTETS, Verifier
from mta.control.protocol import CommandFailed, Json, Request
from mta.control.queue import QueueCommands
from mta.control.standing import StandingCommands
from mta.mail.address import Mailbox, parse_domain
from mta.storage.desk import Desk
from mta.storage.reading import Reader

EX_NO, EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL = 1, 2, 65, 69, 75


@dataclass(frozen=True, slots=True)
class Door:
    """A listener that `mta send` can use."""

    host: str
    port: int
    tls: str
    """`implicit`, `starttls` or `none`."""
    certificate_sha256: str | None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]
    warnings: tuple[str, ...]


class Worker(Protocol):
    """What the commands need of the running server."""

    @property
    def directory(self) -> Directory:
        """The accounts as they are now."""
        ...

    def sends_for(self, domain: str) -> bool:
        """Return whether a domain is configured as one to send from."""
        ...

    async def reload(self) -> Reloaded:
        """Read the configuration again and apply it. Raises ConfigError, with nothing changed."""
        ...

    async def refresh_accounts(self) -> None:
        """Look at the accounts of the store again."""
        ...

    def wake(self) -> None:
        """Look for what has become due, at once."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return what this process is and does, for people and programs."""
        ...

    def door(self) -> Door | None:
        """Return where to submit from this machine; None when there is no listener."""
        ...

    def one_use_credential(self, account: str, stream: str | None) -> tuple[str, str]:
        """Return a login and a password that are good once, for a short while."""
        ...


_Command = Callable[[Mapping[str, Any], str], Awaitable[Mapping[str, Any]]]


class ServerCommands:
    """The commands by name. Each answers one row, but for those of the queue."""

    def __init__(self, worker: Worker, desk: Desk, reader: Reader, standing: StandingCommands) -> None:
        self._worker = worker
        self._desk = desk
        self._reader = reader
        self._queue = QueueCommands(desk, reader, lambda name: worker.directory.get(name) is not None, worker.wake)
        self._commands: dict[str, _Command] = {
            "status": self._status,
            "reload": self._reload,
            "credential": self._credential,
            "account.add": self._add_account,
            "account.passwd": self._change_password,
            **{name: self._waking(command) for name, command in standing.commands().items()},
        }

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command for somebody, giving rows.

        Raises:
            CommandFailed: it cannot be, or its name is unknown.
        """
        if (rows := self._queue.commands().get(request.command)) is not None:
            async with aclosing(rows(request.arguments, who)) as answers:
                async for row in answers:
                    yield row
            return
        command = self._commands.get(request.command)
        if command is None:
            raise CommandFailed(
                f"the running server does not know {request.command!r}; it is of another version: restart it", EX_USAGE
            )
        yield dict(await command(request.arguments, who))

    async def _status(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        return {"pid": os.getpid(), **self._worker.status()}

    async def _reload(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        done = await self._worker.reload()
        return {"applied": done.applied, "needs_restart": done.needs_restart, "warnings": done.warnings}

    async def _credential(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        account = self._chosen(arguments.get("account"), str(arguments.get("sender", "")))
        door = self._worker.door()
        if door is None:
            raise CommandFailed(
                "no submission listener is configured: set submission.listen in mta.toml", EX_UNAVAILABLE
            )
        try:
            login, password = self._worker.one_use_credential(account.name, arguments.get("stream"))
        except ValueError as busy:
            raise CommandFailed(str(busy), EX_TEMPFAIL) from None
        return {
            "host": door.host,
            "port": door.port,
            "tls": door.tls,
            "certificate_sha256": door.certificate_sha256,
            "login": login,
            "password": password,
        }

    def _chosen(self, name: str | None, sender: str) -> Account:
        directory = self._worker.directory
        if name:
            account = directory.get(name)
            if account is None:
                raise CommandFailed(f"there is no account {name!r}; mta account list shows all", EX_NO)
            return account
        try:
            domain = Mailbox.parse(sender, utf8=True).domain
        except ValueError:
            domain = ""
        fitting = [account for account in directory if account.owns(domain)]
        if len(fitting) != 1:
            what = "no account" if not fitting else f"{len(fitting)} accounts"
            raise CommandFailed(f"{what} may send from {domain or sender!r}; name one with --account", EX_NO)
        return fitting[0]

    def _waking(self, command: _Command) -> _Command:
        async def run(arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
            row = await command(arguments, who)
            self._worker.wake()  # a reinstatement releases what was held
            return row

        return run

    async def _add_account(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        name, stream = str(arguments.get("name", "")), str(arguments.get("stream", "transactional"))
        if self._worker.directory.get(name) is not None:
            raise CommandFailed(f"there is an account {name!r} already", EX_NO)
        try:
            domains = [parse_domain(str(domain)) for domain in arguments.get("domains", ())]
            Account(name, frozenset(domains), stream=stream)
        except ValueError as error:
            raise CommandFailed(str(error), EX_DATAERR) from None
        for domain in domains:
            if not self._worker.sends_for(domain):
                raise CommandFailed(
                    f'domain "{domain}" is not configured; add [[domain]] name = "{domain}" and run mta reload', EX_NO
                )
        data = {"name": name, "domains": domains, "stream": stream}
        return await self._put_with_new_password(name, data, who, "added")

    async def _change_password(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        name = str(arguments.get("name", ""))
        stored = await self._reader.account(name)
        if stored is None:
            raise CommandFailed(f"there is no account {name!r} in the store; mta account list shows all", EX_NO)
        return await self._put_with_new_password(name, json.loads(stored.data), who, "password changed")

    async def _put_with_new_password(self, name: str, data: Json, who: str, reason: str) -> Mapping[str, Any]:
        password = generate_secret(secrets.token_bytes(24))
        data["password_hash"] = await asyncio.to_thread(hash_password, password)
        data["scram"] = Verifier.make(password, secrets.token_bytes(SALT_OCTETS)).dump()
        await self._desk.put_account(name, json.dumps(data), who, reason)
        await self._worker.refresh_accounts()
        return {"name": name, "password": password}
