"""A disk that fails when it is told to: a library that is preloaded into the server, and the file that commands it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "faults.c"


@dataclass(frozen=True, slots=True)
class FailingDisk:
    """Calls on some of the server's files fail with EIO."""

    library: Path
    command: Path
    on: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs the server with it."""
        return ("env", f"LD_PRELOAD={self.library}", f"MTA_FAULTS={self.command}", f"MTA_FAULTS_ON={self.on}")

    @contextmanager
    def failing(self, calls: str) -> Iterator[None]:
        """Let calls fail while this is entered: "sync", "write" or both."""
        # at once, so that it is never read half written
        fresh = self.command.with_suffix(".new")
        fresh.write_text(calls)
        fresh.rename(self.command)
        try:
            yield
        finally:
            self.command.unlink()


def failing_disk(folder: Path, on: str = "/data/queue.db") -> FailingDisk:
    """Build the library in a folder; `on` is in the paths of the files that it is about."""
    library = folder / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return FailingDisk(library, folder / "faults", on)
