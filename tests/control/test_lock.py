"""The lock that keeps a second server out of a folder."""

import os
import stat
from pathlib import Path

import pytest

from mta.control.lock import only_server
from mta.errors import ConfigError


def test_a_second_server_is_told_who_is_there(tmp_path: Path) -> None:
    with only_server(tmp_path), pytest.raises(ConfigError, match=rf"{tmp_path} \(process {os.getpid()}\); stop"):
        only_server(tmp_path).__enter__()


def test_the_next_server_may_come_when_the_first_has_gone(tmp_path: Path) -> None:
    for _ in range(2):
        with only_server(tmp_path):
            pass


def test_nobody_else_can_read_or_hold_the_lock(tmp_path: Path) -> None:
    with only_server(tmp_path):
        assert stat.S_IMODE((tmp_path / "server.lock").stat().st_mode) == 0o600
