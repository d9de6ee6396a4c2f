"""Starts the server for a load generator: a configuration from BENCH_* variables, then `mta serve` in the foreground.

BENCH_WORK        an empty folder for configuration and queue
BENCH_PORT        the port to listen on (127.0.0.1, AUTH without TLS)
BENCH_SINK_PORT   where the receiving end listens
BENCH_HOLD        1: accept, deliver nothing: everything is paused, as by `mta queue pause --all`
BENCH_DKIM        1: sign, with BENCH_KEY (PEM), selector `bench`, domain bench.test
BENCH_DOMAINS     1: all mail to 127.0.0.1; N: domain dK.bench.test to 127.0.1.K, each a destination of its own
BENCH_USER, BENCH_PASSWORD   the account
BENCH_SUBMISSION  more lines for [submission]
"""

import asyncio
import os
import random
import secrets
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from mta.accounts.password import hash_password
from mta.clock import SystemClock
from mta.events import Event
from mta.mail.token import Keyring
from mta.queue.model import PauseScope
from mta.storage.sqlite import SqliteStore

DOMAIN = "bench.test"


def configure(work: Path, environ: dict[str, str]) -> Path:
    """Write the configuration; return its path."""
    work.mkdir(parents=True, exist_ok=True)
    keyring = work / "keyring.json"
    keyring.touch(mode=0o600)
    keyring.write_text(Keyring.new(secrets.token_bytes(32), datetime.now(UTC)).dump())
    dkim = "[]"
    if environ.get("BENCH_DKIM") == "1":
        shutil.copy(environ["BENCH_KEY"], work / "dkim.pem")
        (work / "dkim.pem").chmod(0o600)
        dkim = '[{ selector = "bench", key = "dkim.pem" }]'
    config = work / "mta.toml"
    config.write_text(f"""
hostname = "mx.{DOMAIN}"
data_dir = "data"
workers = {environ.get("BENCH_WORKERS", "1")}
[submission]
listen = []
listen_tls = []
listen_plain = ["127.0.0.1:{environ["BENCH_PORT"]}"]
{environ.get("BENCH_SUBMISSION", "")}
[inbound]
listen = []
[http]
listen = ["127.0.0.1:0"]
[queue]
min_free = "0.1%"
[secrets]
keyring = {{ file = "keyring.json" }}
[log]
format = "json"
[[domain]]
name = "{DOMAIN}"
dkim = {dkim}
[[account]]
name = "{environ.get("BENCH_USER", "u")}"
password_hash = "{hash_password(environ.get("BENCH_PASSWORD", "p"))}"
domains = ["{DOMAIN}"]
{_routes(environ)}
""")
    config.chmod(0o600)
    return config


def _routes(environ: dict[str, str]) -> str:
    port, domains = environ["BENCH_SINK_PORT"], int(environ.get("BENCH_DOMAINS", "1"))
    if domains == 1:
        return f'[[route]]\ndomain = "*"\nrelay = "smtp://127.0.0.1:{port}"\n'
    return "".join(
        f'[[route]]\ndomain = "d{i}.{DOMAIN}"\nrelay = "smtp://127.0.1.{i}:{port}"\n' for i in range(domains)
    )


class _Nobody:
    def observe(self, event: Event) -> None:
        """Hear of it and say nothing."""


async def pause(work: Path) -> None:
    """Make the store, and have all that is accepted into it wait."""
    (work / "data").mkdir(mode=0o700)
    path = str(work / "data" / "queue.db")
    async with SqliteStore.open(path, SystemClock(), min_free=0.0, dice=random.Random()) as store:
        await store.desk(_Nobody()).pause(PauseScope.ALL, "", "bench", "accepting only")


if __name__ == "__main__":
    path = configure(Path(os.environ["BENCH_WORK"]), dict(os.environ))
    if os.environ.get("BENCH_HOLD") == "1":
        asyncio.run(pause(path.parent))
    os.execv(sys.executable, [sys.executable, "-m", "mta", "-c", str(path), "serve"])
