"""How many workers there are, and what one of them may take of what the settings allow the whole server."""

import os

from mta.config.settings import Settings

MOST = 8
"""Workers by `auto`: more would only wait for one another at the one SQLite file."""


def cores() -> int:
    """Return how many cores this process may use: fewer than the machine has, in a container or under taskset."""
    return len(os.sched_getaffinity(0))


def workers_of(settings: Settings, available: int) -> int:
    """Return how many workers there shall be; `auto` is one a core, `available` cores.

    One is no supervisor and a worker, but a server that needs no supervisor.
    """
    return min(available, MOST) if settings.workers == "auto" else settings.workers


def share_of(settings: Settings, workers: int) -> Settings:
    """Return the settings of one of several workers, which together keep the ceilings of the whole.

    Rounded up. The room for contents is never less than one message of the largest size takes. What is counted for each
    client or account is not divided: it is there against one that takes all, and the kernel may bring most connections
    of one client to the same worker.
    """
    if workers == 1:
        return settings
    submission, delivery = settings.submission, settings.delivery
    return settings.model_copy(
        update={
            "submission": submission.model_copy(
                update={
                    "max_connections": -(-submission.max_connections // workers),
                    "receive_memory": max(-(-submission.receive_memory // workers), submission.max_message_size),
                }
            ),
            "delivery": delivery.model_copy(update={"max_connections": -(-delivery.max_connections // workers)}),
        }
    )
