"""What every test shares: peers, the real programs that some tests talk to.

A test marked `@pytest.mark.peer("postfix")` is skipped where that Debian package's program is missing, with the
package's name as the reason. With `MTA_REQUIRE_PEERS=1` in the environment it fails instead, so that a run which is to
prove everything cannot pass by skipping.

Property tests have no deadline for one example: on a busy machine it would judge the machine.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# a change is judged by the same examples each time; new ones are looked for where somebody is there to mend them
settings.register_profile("ci", settings.get_profile("house"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "house")

NODE = Path(__file__).parent / "scenarios" / "clients" / "node"
# Debian packages, and the command that ends with 0 when they are there; a single word is only looked for
PEERS: dict[str, tuple[str, ...]] = {
    "curl": ("curl",),
    "dovecot-lmtpd": ("dovecot",),
    "exim4-daemon-light": ("exim4",),
    "faketime": ("faketime",),
    "gcc": ("gcc",),
    "gsasl": ("gsasl",),
    "libmail-dkim-perl": ("perl", "-MMail::DKIM", "-e1"),
    "msmtp": ("msmtp",),
    "nodemailer": ("node", "-e", f"require({str(NODE / 'node_modules' / 'nodemailer')!r})"),
    "nsd": ("nsd",),
    "opendkim": ("opendkim",),
    "opendkim-tools": ("opendkim-testkey",),
    "openssl": ("openssl",),
    "opensmtpd": ("smtpd",),
    "postfix": ("postfix",),
    "prometheus": ("promtool",),
    "strace": ("strace",),
    "swaks": ("swaks",),
    "testssl.sh": ("testssl",),
    "unbound": ("unbound",),
}
# what conflicts with Postfix is not installed but unpacked here: dpkg -x exim4-daemon-light_*.deb $MTA_PEERS
UNPACKED = os.environ.get("MTA_PEERS", "/opt/mta-peers")
# peers that are no Debian packages, or not to be installed like others
_UNPACK = "apt-get download {0} && dpkg -x {0}_*.deb " + UNPACKED + "  (it conflicts with Postfix)"
OTHERWISE = {
    "nodemailer": f"npm ci --prefix {NODE} (Node.js 20 or newer)",
    "exim4-daemon-light": _UNPACK.format("exim4-daemon-light"),
    "opensmtpd": _UNPACK.format("opensmtpd"),
}
# servers stand where the PATH of an ordinary user does not lead
SERVERS = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", f"{UNPACKED}/usr/sbin")
)


@functools.cache
def _is_there(package: str) -> bool:
    program, *arguments = PEERS[package]
    path = shutil.which(program, path=SERVERS)
    if path is None or not arguments:
        return path is not None
    return subprocess.run([path, *arguments], capture_output=True, timeout=60, check=False).returncode == 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a test whose peer is missing."""
    for package in [name for marker in item.iter_markers("peer") for name in marker.args]:
        if package not in PEERS:
            pytest.fail(f"peer {package!r} is unknown; add it to PEERS in tests/conftest.py", pytrace=False)
        if _is_there(package):
            continue
        missing = f"Debian package {package} is missing; install it with: apt-get install {package}"
        if package in OTHERWISE:
            missing = f"{package} is missing; install it with: {OTHERWISE[package]}"
        if os.environ.get("MTA_REQUIRE_PEERS") == "1":
            pytest.fail(f"{missing} (MTA_REQUIRE_PEERS=1)", pytrace=False)
        pytest.skip(missing)
