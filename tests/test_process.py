"""How a serving process is set up; in a process of its own, since it changes the whole of it."""

import subprocess
import sys

import pytest

from mta.config.settings import DeliverySettings, Settings, SubmissionSettings
from mta.process import descriptors_wanted

_PROGRAM = """
import gc, logging, resource, sys
from mta.config.settings import Settings, SubmissionSettings
from mta.process import prepare
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))
prepare(Settings(hostname="mail.example.com", submission=SubmissionSettings(max_connections=int(sys.argv[1]))))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], gc.get_threshold()[0])
"""


def run(connections: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROGRAM, str(connections)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_a_process_takes_all_the_descriptors_it_may_have_and_says_when_they_are_too_few() -> None:
    done = run(500)
    assert done.stdout.split() == ["512", "10000"]
    assert "may open 512 files" in done.stderr
    assert "LimitNOFILE=1300" in done.stderr


@pytest.mark.parametrize(("clients", "hosts", "wanted"), [(500, 500, 1300), (10, 20, 330)])
def test_every_connection_has_a_descriptor_and_the_store_has_some_besides(
    clients: int, hosts: int, wanted: int
) -> None:
    settings = Settings(
        hostname="mail.example.com",
        submission=SubmissionSettings(max_connections=clients),
        delivery=DeliverySettings(max_connections=hosts),
    )
    assert descriptors_wanted(settings) == wanted
