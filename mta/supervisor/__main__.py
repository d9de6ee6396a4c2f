"""The supervisor as a program; `mta serve` becomes it where there are several workers."""

import asyncio
import logging
import sys

import uvloop

from mta.clock import SystemClock
from mta.errors import ConfigError
from mta.observe.log import setup_logging
from mta.supervisor.charge import Charge
from mta.supervisor.crew import EX_CONFIG, Crew, Refused
from mta.supervisor.serve import supervise

EX_NO, EX_USAGE, EX_SOFTWARE = 1, 2, 70

_log = logging.getLogger(__name__)


def main() -> int:
    """Supervise until stopped; return the exit code."""
    try:
        charge = Charge.parse(" ".join(sys.argv[1:]))
    except ValueError as error:
        print(f"mta: {error}", file=sys.stderr)
        return EX_USAGE
    setup_logging(charge.log_level, charge.log_format, sys.stderr)
    charge.take_over()
    try:
        with asyncio.Runner(loop_factory=None if charge.plain_asyncio else uvloop.new_event_loop) as runner:
            killed = runner.run(supervise(charge, Crew(charge.workers, charge.begin, SystemClock())))
    except Refused:
        return EX_CONFIG  # the worker that found out has said what is wrong
    except ConfigError as error:
        print(f"mta: {error}", file=sys.stderr)
        return EX_CONFIG
    except Exception as error:
        _log.critical("the supervisor ends: %s", error, exc_info=error)
        return EX_SOFTWARE
    return EX_NO if killed else 0


sys.exit(main())
