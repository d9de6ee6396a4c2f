"""One-use credentials that are good at every worker of a machine, and once: a file each, which one worker can remove.

The client of `mta send` asks one worker for its credential and is taken by whichever is free. The file is named by the
secret's digest, so that who may read the folder, a backup for one, learns no secret from it. Files that were left over
by a restart are removed when the next credential is issued.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from mta.accounts.password import generate_secret
from mta.clock import Clock
from mta.submission.auth import MAX_ISSUED, RANDOM_OCTETS, OneUse, OneUseCredential

_PREFIX = "once-"


class OneUseFiles(OneUse):
    """Credentials for the machine's own commands, kept in a folder that all workers share."""

    def __init__(
        self, folder: Path, clock: Clock, dice: Callable[[int], bytes], life: timedelta = timedelta(seconds=60)
    ) -> None:
        """`dice` returns so many random octets that nobody can guess (`secrets.token_bytes`). The clock's monotonic
        time must be the machine's, which all its processes share until it is started again.
        """
        super().__init__(clock, dice, life)
        self._folder = folder

    def issue(self, account: str, stream: str | None = None) -> OneUseCredential:
        """Return a login for an account, and perhaps a stream, with a secret of its own.

        Raises:
            ValueError: too many were issued and not used.
            OSError: it cannot be written down.
        """
        if sum(1 for _ in self._waiting()) >= MAX_ISSUED:
            raise ValueError(f"{MAX_ISSUED} one-use credentials wait to be used; try again in a minute")
        login = account if stream is None else f"{account}/{stream}"
        secret = generate_secret(self._dice(RANDOM_OCTETS))
        path = self._file(secret.encode())
        # written whole before it has its name: another worker never reads half of it
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream_:
            stream_.write(f"{self._clock.monotonic() + self._life!r} {login}")
        fresh.rename(path)
        return OneUseCredential(login, secret)

    def take(self, login: str, password: bytes) -> bool:
        """Return whether a password is a secret issued for this login; it is not any more."""
        path = self._file(password)
        found = _read(path)
        if found is None:
            return False
        try:
            path.unlink()
        except FileNotFoundError:
            return False  # another worker was first
        until, of = found
        return of == login and until > self._clock.monotonic()

    def _file(self, secret: bytes) -> Path:
        return self._folder / f"{_PREFIX}{hashlib.sha256(secret).hexdigest()}"

    def _waiting(self) -> Iterator[Path]:
        """Give the files of credentials that can still be used, and remove the others."""
        now = self._clock.monotonic()
        for path in self._folder.glob(f"{_PREFIX}*"):
            found = _read(path)
            # a time that is further away is of before the machine's last start
            if found is not None and now < found[0] <= now + self._life:
                yield path
            else:
                path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[float, str] | None:
    """Return until when a credential is good, and its login; None where there is none."""
    try:
        until, _, login = path.read_text("utf-8").partition(" ")
        return float(until), login
    except (OSError, ValueError):
        return None
