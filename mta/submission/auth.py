"""Who is at the door: passwords checked off the loop, remembered shortly, and credentials that work once.

Failures are counted by `lockout`; the words between client and server are carried by `login`. Nothing of a credential
is logged or shown in a repr, nor is a name that no account has: it may be a password in the wrong place.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta

from mta.accounts.account import Account, Directory, Login
from mta.accounts.networks import IpNetwork, is_within
from mta.accounts.password import CannotVerify, generate_secret, verify_password
from mta.accounts.scram import Decoys, Verifier
from mta.clock import Clock
from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission import scram
from mta.submission.lockout import Lockout, LockoutSettings
from mta.submission.sasl import MECHANISMS, Credentials, Exchange, Proof

_log = logging.getLogger(__name__)

_MAX_REMEMBERED = 10_000
MAX_ISSUED = 1_000
RANDOM_OCTETS = 20
_NONCE_OCTETS = 24


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How much work logging in may be, what follows failures, and who need not log in."""

    at_once: int = 2
    """Passwords hashed at the same time: each takes a core and 19 MiB."""
    patience: timedelta = timedelta(seconds=20)
    """How long a client waits for its turn before it hears 454."""
    remember: timedelta = timedelta(minutes=5)
    """How long a proven password is known without hashing it again."""
    lockout: LockoutSettings = field(default_factory=LockoutSettings)
    trusted_networks: tuple[IpNetwork, ...] = ()
    """Whose clients may send without AUTH."""
    trusted_account: str = ""
    """As whom; empty: as nobody."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """A client that wants to log in."""

    address: str
    end_point: bytes | None = None
    """The channel binding of its connection; None: there is none."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has gone, or is to go: nothing is kept back for it any more."""


@dataclass(frozen=True, slots=True)
class _Proven:
    """A password that was right."""

    account: Account
    until: float


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
        if len(self._issued) >= MAX_ISSUED:
            raise ValueError(f"{MAX_ISSUED} one-use credentials wait to be used; try again in a minute")
        login = account if stream is None else f"{account}/{stream}"
        secret = generate_secret(self._dice(RANDOM_OCTETS))
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
        *,
        decoy_secret: bytes | None = None,
        dice: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`key`: random octets of this process alone, under which proven passwords are remembered.

        `decoy_secret` outlives restarts and is the same in all workers; without it, what unknown names are told changes
        with each process, by which they are told from accounts. `dice` returns octets that nobody can guess.
        """
        self._directory = directory
        self._one_use = one_use
        self._executor = executor
        self._clock = clock
        self._key = key
        self._settings = settings
        self._lockout = Lockout(settings.lockout, clock)
        self._decoys = Decoys(decoy_secret or key)
        self._dice = dice
        self._turn = asyncio.Semaphore(settings.at_once)
        self._proven: dict[bytes, _Proven] = {}
        self.kept_back = 0
        """Refusals that wait until they are told."""

    def replace(self, directory: Directory) -> None:
        """Let other accounts hold from now on. What was proven of an account that changed is forgotten."""
        self._directory = directory
        self._proven = {
            proof: proven
            for proof, proven in self._proven.items()
            if directory.get(proven.account.name) == proven.account
        }

    def replace_settings(self, settings: AuthSettings) -> None:
        """Use other settings from now on; how many passwords are hashed at once stays. Failures stay counted."""
        self._settings = settings
        self._lockout.replace(settings.lockout)

    def replace_decoy_secret(self, secret: bytes) -> None:
        """Make up what unknown names are told with another secret from now on."""
        self._decoys = Decoys(secret)

    def account(self, name: str) -> Account | None:
        """Return an account as it stands now: it may have changed, or gone, since its client logged in."""
        return self._directory.get(name)

    def trusted_login(self, address: str) -> Login | None:
        """Return as whom a client may send without AUTH since it is where it is; None when it may not.

        `allow_from` is not asked: the trusted networks are the later word on where this account's mail comes from.
        """
        settings = self._settings
        if not settings.trusted_account or not is_within(address, settings.trusted_networks):
            return None
        return self._directory.log_in(settings.trusted_account)

    def mechanisms(self, end_point: bytes | None) -> tuple[str, ...]:
        """Return what a client is offered, given the channel binding of its connection."""
        if self._directory.scram_model is None:
            return tuple(MECHANISMS)
        return (*MECHANISMS, scram.PLAIN_NAME, *((scram.PLUS_NAME,) if end_point is not None else ()))

    def exchange(self, mechanism: str, applicant: Applicant) -> Exchange | None:
        """Return the exchange of a mechanism by its upper-case name; None where it is not offered."""
        if mechanism not in self.mechanisms(applicant.end_point):
            return None
        if mechanism in MECHANISMS:
            return MECHANISMS[mechanism]()
        nonce = base64.b64encode(self._dice(_NONCE_OCTETS)).decode("ascii")
        channel = scram.Channel(mechanism == scram.PLUS_NAME, applicant.end_point, nonce)
        return scram.exchange(channel, _ScramJudge(self._scram_verifier, self._admits, applicant))

    async def verify(self, claim: Credentials | Proof, applicant: Applicant) -> Login | Reply:
        """Return whose credentials these are, or the refusal: the same one, after the same work, for every reason.

        A refusal is kept back for a while that grows with the failures. Who is locked out hears that, whether or not
        the password is right.
        """
        if isinstance(claim, Credentials) and (login := self._of_one_use(claim)):
            return login
        if self._lockout.is_locked(claim.login, applicant.address):
            return failures.LOCKED_OUT
        try:
            proves = await self._proves(claim, applicant)
        except TimeoutError:
            return failures.AUTH_UNAVAILABLE
        except CannotVerify:
            _log.exception("a password could not be checked; the client was told to try again")
            return failures.AUTH_UNAVAILABLE
        # others may have failed while the password was hashed: as many guesses at once as one likes are no way round
        if self._lockout.is_locked(claim.login, applicant.address):
            return failures.LOCKED_OUT
        login = self._directory.log_in(claim.login)
        if login is not None and proves and self._admits(claim.login, claim.acts_as, applicant):
            self._lockout.succeeded(claim.login, applicant.address)
            return login
        return await self._refuse(claim, applicant, proves=proves)

    async def _refuse(self, claim: Credentials | Proof, applicant: Applicant, *, proves: bool) -> Reply:
        delay = self._lockout.failed(claim.login, applicant.address)
        self._tell(claim, applicant, proves=proves)
        if delay <= timedelta():
            return failures.BAD_CREDENTIALS
        if self.kept_back >= self._settings.lockout.waiting:
            return failures.LOCKED_OUT
        self.kept_back += 1
        try:
            async with asyncio.timeout(delay.total_seconds()):
                await applicant.left.wait()
        except TimeoutError:
            pass
        finally:
            self.kept_back -= 1
        return failures.BAD_CREDENTIALS

    def _tell(self, claim: Credentials | Proof, applicant: Applicant, *, proves: bool) -> None:
        """Tell the operator why, which the client does not learn."""
        account = self._account_meant(claim.login)
        if isinstance(claim, Proof) and claim.trouble:
            reason = claim.trouble
        elif account is None:
            reason = "there is no such account"
        elif not account.lets_in(applicant.address):
            reason = f"account {account.name!r} may not log in from there (allow_from)"
        else:
            reason = f"account {account.name!r}: {'not to be used so' if proves else 'the password is wrong'}"
        _log.info("login from %s refused: %s", applicant.address, reason)
        if self._lockout.is_locked(claim.login, applicant.address):
            _log.warning("logins from %s are not looked at for a while: too many failed", applicant.address)

    def _of_one_use(self, claim: Credentials) -> Login | None:
        """Return the login of a credential that our own commands were given; nobody can guess one, locked or not."""
        login = self._directory.log_in(claim.login)
        if login is None or not self._one_use.take(claim.login, claim.password):
            return None
        return login if claim.acts_as in ("", claim.login, login.account.name) else None

    def _account_meant(self, login: str) -> Account | None:
        """Return the account before the slash, whatever is behind it."""
        return self._directory.get(login.partition("/")[0])

    def _admits(self, login: str, acts_as: str, applicant: Applicant) -> bool:
        """Whether the right password would let a client in."""
        found = self._directory.log_in(login)
        return (
            found is not None
            and acts_as in ("", login, found.account.name)
            and found.account.lets_in(applicant.address)
            and not self._lockout.is_locked(login, applicant.address)
        )

    def _scram_verifier(self, login: str, applicant: Applicant) -> Verifier | None:
        model = self._directory.scram_model
        if model is None or self._lockout.is_locked(login, applicant.address):
            return None
        # of the name alone: whether `x/bulk` has the salt of `x` must not tell whether there is an `x`
        decoy = self._decoys.verifier(login.partition("/")[0], model)
        account = self._account_meant(login)
        return account.scram if account is not None and account.scram is not None else decoy

    async def _proves(self, claim: Credentials | Proof, applicant: Applicant) -> bool:
        """Whether a claim is proven.

        Raises:
            TimeoutError, CannotVerify: a password cannot be checked now.
        """
        if isinstance(claim, Proof):
            return claim.proves
        login = self._directory.log_in(claim.login)
        account = login.account if login is not None else None
        # only for whom it would let in: to others a quick answer would tell that the password is right
        may_be_known = self._admits(claim.login, claim.acts_as, applicant)
        right = await self._knows(account, claim.password, may_be_known=may_be_known)
        # a password that was right for what the account was, before it changed or went, is not
        return right and account is not None and self._directory.get(account.name) == account

    async def _knows(self, account: Account | None, password: bytes, *, may_be_known: bool) -> bool:
        """Whether the password is the account's. May be answered from memory only where it is right.

        Raises:
            TimeoutError: too many others wait.
        """
        password_hash = account.password_hash if account is not None else None
        proof = self._proof(account, password) if account is not None and password_hash and may_be_known else b""
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
        if right and proof and account is not None and self._directory.get(account.name) == account:
            self._remember(proof, account)
        return right

    def _proof(self, account: Account, password: bytes) -> bytes:
        # names and hashes hold no NUL
        return hmac.digest(self._key, f"{account.name}\0{account.password_hash}\0".encode() + password, hashlib.sha256)

    def _is_proven(self, proof: bytes) -> bool:
        proven = self._proven.get(proof)
        return proven is not None and proven.until > self._clock.monotonic()

    def _remember(self, proof: bytes, account: Account) -> None:
        self._proven.pop(proof, None)
        if len(self._proven) >= _MAX_REMEMBERED:
            del self._proven[next(iter(self._proven))]
        self._proven[proof] = _Proven(account, self._clock.monotonic() + self._settings.remember.total_seconds())


@dataclass(frozen=True, slots=True)
class _ScramJudge:
    """What one exchange asks of the authenticator."""

    find: Callable[[str, Applicant], Verifier | None]
    may: Callable[[str, str, Applicant], bool]
    applicant: Applicant

    def verifier(self, login: str) -> Verifier | None:
        """Return what a login is proven by, or a decoy; None while it is locked."""
        return self.find(login, self.applicant)

    def admits(self, login: str, acts_as: str) -> bool:
        """Return whether somebody with the right password may log in so."""
        return self.may(login, acts_as, self.applicant)
