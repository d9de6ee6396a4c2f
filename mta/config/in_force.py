"""Which keys this version reads, checks and does not act on yet; whoever builds one deletes its line.

A key that is silently ignored is the worst a mail server can do to its operator, so each that is set to something
else than its default gets a warning. "*" stands for every entry of a list of tables.
"""

from collections.abc import Iterator

from mta.config.explain import Finding
from mta.config.positions import Loc
from mta.config.schema import part_at
from mta.config.settings import InboundSettings, Part, Settings

NOT_IN_FORCE: tuple[Loc, ...] = (
    ("inbound", "postmaster"),
    ("inbound", "abuse"),
    ("inbound", "forward_autoreplies"),
    ("http", "public_listen"),
    ("http", "public_url"),
    ("http", "tls"),
    ("http", "trusted_proxies"),
    ("shaping",),
    ("source",),
    ("account", "*", "contact"),
    ("account", "*", "pool"),
    ("account", "*", "tracking"),
    ("account", "*", "webhook"),
    ("reputation", "dormant_after"),
    ("reputation", "require_consent"),
    ("suppression", "soft_bounces"),
    ("privacy", "trash"),
    ("privacy", "redact_logs"),
)

REASON = "is not in force in this version; it is accepted and ignored"
REMEDY = "remove it or leave its default"


def ignored_keys(settings: Settings) -> Iterator[Finding]:
    """Yield a warning for each key that is set, differs from its default, and has no effect yet."""
    baseline = Settings(
        hostname=settings.hostname,
        inbound=InboundSettings(return_path_domain=settings.inbound.return_path_domain),
    )
    for pattern in NOT_IN_FORCE:
        match pattern:
            case (str() as name, "*", str() as key):
                part = part_at((name,))
                for index, entry in enumerate(getattr(settings, name)):
                    if part and getattr(entry, key) != part.model_fields[key].default:
                        yield Finding((name, index, key), REASON, REMEDY, is_warning=True)
            case (str() as name,) if isinstance(getattr(settings, name), tuple):
                if getattr(settings, name):
                    yield Finding((name, 0), REASON, REMEDY, is_warning=True, about=(name,))
            case _:
                value = _value(settings, pattern)
                if value != _value(baseline, pattern):
                    yield Finding(pattern, REASON, REMEDY, is_warning=True)


def _value(part: Part, loc: Loc) -> object:
    value: object = part
    for key in loc:
        value = getattr(value, str(key))
    return value
