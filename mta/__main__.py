"""`python -m mta` is `mta`."""

from mta.cli.main import main

main()
