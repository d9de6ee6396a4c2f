"""What a serving process sets up before it serves: file descriptors, memory given back, rarer garbage collection."""

import ctypes
import gc
import logging
import resource
import sys

from mta.config.settings import Settings

_log = logging.getLogger(__name__)

_RESERVE = 200
"""Descriptors beside connections: the store, its journals, the log, keys, resolvers, commands."""
_INBOUND = 100
_COLLECT_AFTER = 10_000
"""Objects more than before, a few megabytes at most."""
_M_MMAP_THRESHOLD = -3
_MAPPED_FROM = 128 * 1024


def prepare(settings: Settings) -> None:
    """Set this process up; what the system does not grant is said, and is no reason not to serve."""
    _give_large_memory_back()
    _collect_less()
    wanted, granted = descriptors_wanted(settings), _raise_descriptors()
    if granted < wanted:
        _log.warning(
            "this process may open %d files and sockets, and the limits of the configuration add up to %d: beyond that "
            "clients wait; raise the limit (LimitNOFILE=%d in the service, or ulimit -n), or lower max_connections "
            "under [submission] and [delivery]",
            granted,
            wanted,
            wanted,
        )


def descriptors_wanted(settings: Settings) -> int:
    """Return how many files and sockets a server opens when every limit of its configuration is reached."""
    return settings.submission.max_connections + settings.delivery.max_connections + _INBOUND + _RESERVE


def _raise_descriptors() -> int:
    """Raise the soft limit to the hard one; return what holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            _log.info("the limit of open files stays at %d: %s", soft, error)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _collect_less() -> None:
    """Look for garbage in circles less often, and not in what was there at the start: most of a message is in none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _give_large_memory_back() -> None:
    """Let glibc map large blocks by themselves, so that they go back at once when a flood of large messages is over.

    Its own threshold grows with the first large block that is freed, and what lies below it is kept by the process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library, which has no such threshold
    mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
