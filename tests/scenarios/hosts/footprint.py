"""What a process holds, as the system tells it: descriptors, and memory at its highest since it was asked last."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_PEAK_AGAIN = "5"
"""What makes the kernel begin to measure the peak anew (proc(5), clear_refs)."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process."""

    pid: int

    def descriptors(self) -> Counter[str]:
        """Return what its descriptors lead to, sockets without their numbers; and to each how many."""
        found: Counter[str] = Counter()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[re.sub(r"\[\d+\]", "", str(entry.readlink()))] += 1
            except FileNotFoundError:
                continue  # closed since they were listed
        return found

    def forget_peak(self) -> None:
        """Measure the peak from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text(_PEAK_AGAIN)

    def resident(self) -> int:
        """Return the octets of memory it has now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return the most octets of memory it had."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", text)
        assert found is not None, text
        return int(found[1]) * 1024
