"""Hashing that does not give the interpreter's lock away for little.

`hashlib` does so from 2048 octets on. Where other threads are at work, getting it back takes far longer than hashing a
few kilobytes does.
"""

import hashlib

_UNLOCKED = 2047
"""Octets up to which `hashlib` keeps the lock."""
_LITTLE = 16 * 1024


def absorb(digest: "hashlib._Hash", octets: bytes) -> None:
    """Add octets to a digest."""
    size = len(octets)
    if not _UNLOCKED < size <= _LITTLE:
        digest.update(octets)
        return
    view = memoryview(octets)
    for start in range(0, size, _UNLOCKED):
        digest.update(view[start : start + _UNLOCKED])
