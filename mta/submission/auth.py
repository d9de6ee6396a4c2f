"""Who is at the door: passwords checked off the loop, remembered shortly, and credentials that work once.

Limits on failures are not kept here. Nothing of a credential is logged or shown in a repr.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta

from mta.accounts.account import Account, Directory, Login
from mta.accounts.password import CannotVerify, generate_secret, verify_password
from mta.clock import Clock
from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission.sasl import Credentials

_log = logging.getLogger(__name__)

_MAX_REMEMBERED = 10_000
_MAX_ISSUED = 1_000
_RANDOM_OCTETS = 20


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How much work logging in may be."""

    at_once: int = 2
    """Passwords hashed at the same time: each takes a core and 19 MiB."""
    patience: timedelta = timedelta(seconds=20)
    """How long a client waits for its turn before it hears 454."""
    remember: timedelta = timedelta(minutes=5)
    """How long a proven password is known without hashing it again."""


@dataclass(frozen=True, slots=True)
class OneUseCredential:
    """A login and a secret that work once, and only for a minute."""

    login: str
    secret: str = field(repr=False)


class OneUse:
    """Credentials for the machine's own commands, given out over the control socket."""

    def __init__(self, clock: Clock, dice: Callable[[int], bytes], life: timedelta = timedelta(seconds=60)) -> None:
        """`dice` returns so many random octets that nobody can guess (`secrets.token_bytes`)."""
        self._clock = clock
        self._dice = dice
        self._life = life.total_seconds()
        self._issued: dict[bytes, tuple[str, float]] = {}

    def issue(self, account: str, stream: str | None = None) -> OneUseCredential:
        """Return a login for an account, and perhaps a stream, with a secret of its own.

        Raises:
            ValueError: too many were issued and not used.
        """
        now = self._clock.monotonic()
        self._issued = {digest: entry for digest, entry in self._issued.items() if entry[1] > now}
        if len(self._issued) >= _MAX_ISSUED:
            raise ValueError(f"{_MAX_ISSUED} one-use credentials wait to be used; try again in a minute")
        login = account if stream is None else f"{account}/{stream}"
        secret = generate_secret(self._dice(_RANDOM_OCTETS))
        self._issued[hashlib.sha256(secret.encode()).digest()] = (login, now + self._life)
        return OneUseCredential(login, secret)

    def take(self, login: str, password: bytes) -> bool:
        """Return whether a password is a secret issued for this login; it is not any more."""
        if not self._issued:
            return False
        # looked up by its digest: what the look-up's time tells is of no use to anybody who lacks the secret
        found = self._issued.pop(hashlib.sha256(password).digest(), None)
        return found is not None and found[0] == login and found[1] > self._clock.monotonic()


class Authenticator:
    """Says who a client is. The accounts are replaced on reload by `replace`."""

    def __init__(
        self,
        directory: Directory,
        one_use: OneUse,
        executor: Executor,
        clock: Clock,
        key: bytes,
        settings: AuthSettings = AuthSettings(),
    ) -> None:
        """`key`: random octets of this process alone, under which proven passwords are remembered."""
        self._directory = directory
        self._one_use = one_use
        self._executor = executor
        self._clock = clock
        self._key = key
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.at_once)
        self._proven: dict[bytes, float] = {}

    def replace(self, directory: Directory) -> None:
        """Let other accounts hold from now on. A changed password hash makes the old password unknown at once."""
        self._directory = directory

    def account(self, name: str) -> Account | None:
        """Return an account as it stands now: it may have changed, or gone, since its client logged in."""
        return self._directory.get(name)

    async def verify(self, credentials: Credentials) -> Login | Reply:
        """Return whose credentials these are, or the refusal: the same one, after the same work, for every reason."""
        login = self._directory.log_in(credentials.login)
        proves = login is not None and self._one_use.take(credentials.login, credentials.password)
        if not proves:
            try:
                proves = await self._knows(login, credentials.password)
            except TimeoutError:
                return failures.AUTH_UNAVAILABLE
            except CannotVerify:
                _log.exception("a password could not be checked; the client was told to try again")
                return failures.AUTH_UNAVAILABLE
        if login is None or not proves or credentials.acts_as not in ("", credentials.login, login.account.name):
            return failures.BAD_CREDENTIALS
        return login

    async def _knows(self, login: Login | None, password: bytes) -> bool:
        """Whether the password is the account's. May be answered from memory only where it is right.

        Raises:
            TimeoutError: too many others wait.
        """
        password_hash = login.account.password_hash if login else None
        proof = self._proof(login.account.name, password_hash, password) if login and password_hash else b""
        if self._is_proven(proof):
            return True
        async with asyncio.timeout(self._settings.patience.total_seconds()):
            await self._turn.acquire()
        try:
            # an application that opens twenty connections at once is hashed for once
            if self._is_proven(proof):
                return True
            loop = asyncio.get_running_loop()
            decoy = self._directory.decoy
            right = await loop.run_in_executor(self._executor, verify_password, password_hash, password, decoy)
        finally:
            self._turn.release()
        if right:
            self._remember(proof)
        return right

    def _proof(self, account: str, password_hash: str, password: bytes) -> bytes:
        # names and hashes hold no NUL; with the hash in it, a changed password is forgotten by itself
        return hmac.digest(self._key, f"{account}\0{password_hash}\0".encode() + password, hashlib.sha256)

    def _is_proven(self, proof: bytes) -> bool:
        return self._proven.get(proof, 0.0) > self._clock.monotonic()

    def _remember(self, proof: bytes) -> None:
        self._proven.pop(proof, None)
        if len(self._proven) >= _MAX_REMEMBERED:
            del self._proven[next(iter(self._proven))]
        self._proven[proof] = self._clock.monotonic() + self._settings.remember.total_seconds()
