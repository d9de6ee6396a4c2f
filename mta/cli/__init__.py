"""The `mta` command: one file per group of commands."""
