"""The accounts of the configuration and of the store as one directory: what a name means to the doors."""

import json
from collections.abc import Iterable

from pydantic import ValidationError

from mta.accounts.account import Account, Directory, Rate
from mta.accounts.scram import Verifier
from mta.config.settings import AccountEntry, Settings
from mta.errors import ConfigError, Problem
from mta.storage.views import StoredAccount


def directory(settings: Settings, stored: Iterable[StoredAccount]) -> Directory:
    """Return all accounts, of the files and of the store.

    Raises:
        ConfigError: a name is in both, or an account of the store cannot be read.
    """
    in_files = [_account(entry) for entry in settings.account]
    in_store = [_account(_entry(each)) for each in stored]
    both = sorted({account.name for account in in_files} & {account.name for account in in_store})
    if both:
        raise ConfigError(
            *(
                Problem(
                    "",
                    None,
                    f'account "{name}"',
                    "stands in the configuration, and was made by command in the store too",
                    "rename the one in the configuration, or take it out",
                )
                for name in both
            )
        )
    return Directory([*in_files, *in_store])


def _account(entry: AccountEntry) -> Account:
    rate = entry.rate
    return Account(
        name=entry.name,
        domains=frozenset(entry.domains),
        password_hash=entry.password_hash.reveal() if entry.password_hash else None,
        stream=entry.stream,
        scram=Verifier.parse(entry.scram.reveal()) if entry.scram else None,
        allow_from=entry.allow_from,
        rate=Rate(rate.count, rate.per) if rate else None,
        max_recipients=entry.max_recipients,
        max_message_size=entry.max_message_size,
        max_connections=entry.max_connections,
        first_time_recipients_per_day=entry.first_time_recipients_per_day,
        pool=entry.pool,
        weight=entry.weight,
        may_waive_tls=entry.may_waive_tls,
    )


def _entry(stored: StoredAccount) -> AccountEntry:
    """Read an account of the store, which has the keys of an [[account]].

    Raises:
        ConfigError: it is none.
    """
    try:
        return AccountEntry.model_validate(json.loads(stored.data))
    except (ValidationError, ValueError) as error:
        reasons = [str(each["msg"]) for each in error.errors()] if isinstance(error, ValidationError) else [str(error)]
        raise ConfigError(
            Problem(
                "store",
                None,
                f'account "{stored.name}"',
                f"cannot be read: {'; '.join(reasons)}",
                "restore the store from a backup, or make the account again under another name",
            )
        ) from None
