"""The peer marker: a missing program is skipped by name, fails where all must be proved, and a typo is an error."""

import os
import subprocess
import sys
from pathlib import Path

TEST = """
import pytest

@pytest.mark.peer({package!r})
def test_something() -> None:
    print("it ran")
"""


def run(folder: Path, package: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test that wants a package, where no program at all can be found."""
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    # the folders that are searched besides PATH must not have it either
    (folder / "conftest.py").write_text(conftest.replace('"/usr', '"/nowhere/usr').replace('"/sbin"', '"/nowhere"'))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = peer(package): a program\n")
    (folder / "test_one.py").write_text(TEST.format(package=package))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MTA_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rsfE", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)],
        env=clean | {"PATH": str(folder)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_peer_is_skipped_with_its_name(tmp_path: Path) -> None:
    done = run(tmp_path, "swaks")
    assert done.returncode == 0
    assert "Debian package swaks is missing" in done.stdout
    assert "1 skipped" in done.stdout


def test_a_missing_perl_module_is_skipped_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "perl").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "perl").chmod(0o755)
    assert "Debian package libmail-dkim-perl is missing" in run(tmp_path, "libmail-dkim-perl").stdout


def test_a_missing_peer_of_another_registry_is_skipped_with_what_installs_it(tmp_path: Path) -> None:
    done = run(tmp_path, "nodemailer")
    assert "nodemailer is missing; install it with: npm ci" in done.stdout
    assert "1 skipped" in done.stdout


def test_a_missing_peer_fails_where_peers_are_required(tmp_path: Path) -> None:
    done = run(tmp_path, "swaks", MTA_REQUIRE_PEERS="1")
    assert done.returncode == 1
    assert "Debian package swaks is missing" in done.stdout


def test_an_unknown_package_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, "swacks")
    assert done.returncode == 1
    assert "peer 'swacks' is unknown" in done.stdout


def test_a_peer_that_is_there_runs(tmp_path: Path) -> None:
    (tmp_path / "swaks").write_text("#!/bin/sh\n")
    (tmp_path / "swaks").chmod(0o755)
    done = run(tmp_path, "swaks", MTA_REQUIRE_PEERS="1")
    assert done.returncode == 0
    assert "it ran" in done.stdout
