"""What can be set: one frozen model a part of the configuration file, with its defaults.

Attributes have the names of the keys; `[[account]]` is the tuple `account`. `Settings(hostname="mail.example.com")`
works without any file. What contradicts what is in `checks`, what is not in force yet in `in_force`; files and
secrets are read by `load`, which keys name them is in `schema`.
"""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from mta.config.addresses import (
    AccountName,
    Address,
    DomainName,
    DomainOrNone,
    DomainPattern,
    Listen,
    ListenField,
    MailAddress,
    NameserverField,
    Network,
    OptionalDomain,
    RelayField,
    RelayTls,
    Selector,
    StoreUrl,
    StoreUrlField,
    TlsDemand,
)
from mta.config.values import (
    DEFAULT_MAX_AGE,
    Count,
    Duration,
    Expiry,
    Flag,
    Fraction,
    MaxAgeField,
    OptionalPath,
    PathField,
    Port,
    Positive,
    PositiveDuration,
    RateField,
    Secret,
    SecretField,
    SecretKeptApart,
    Share,
    Size,
    Workers,
    matching,
)

Stream = Literal["transactional", "bulk"]

_PASSWORD_HASH = re.compile(r"\$argon2id\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[^$\s]+\$[^$\s]+")
_SCRAM = re.compile(r"SCRAM-SHA-256\$[0-9]+:[^$:\s]+\$[^$:\s]+:[^$:\s]+")

PasswordHash = Annotated[
    Secret | None,
    PlainValidator(
        matching(_PASSWORD_HASH, "expected an argon2id hash ($argon2id$v=19$m=...), made by: mta account passwd")
    ),
]
ScramVerifier = Annotated[
    Secret | None,
    PlainValidator(matching(_SCRAM, "expected a verifier (SCRAM-SHA-256$4096:...), made by: mta account passwd")),
]


class Part(BaseModel):
    """What all parts share: they never change, know all their keys, and show no input in their errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StoreSettings(Part):
    """`[store]`: where the queue is kept."""

    url: StoreUrlField = StoreUrl(Path("queue.db"))


class ServerTls(Part):
    """A server's certificate; both unset: a self-signed one is used."""

    cert: OptionalPath = None
    key: OptionalPath = None
    min_version: Literal["1.2", "1.3"] = "1.2"


class Lockout(Part):
    """What follows wrong passwords."""

    attempts: Positive = 10
    window: PositiveDuration = timedelta(minutes=10)
    delay_max: Duration = timedelta(seconds=30)


class SubmissionSettings(Part):
    """`[submission]`: the door for those who send."""

    listen: tuple[ListenField, ...] = (Listen("0.0.0.0", 587), Listen("::", 587))  # noqa: S104  the service's purpose
    listen_tls: tuple[ListenField, ...] = (Listen("0.0.0.0", 465), Listen("::", 465))  # noqa: S104  as above
    listen_plain: tuple[ListenField, ...] = ()
    trusted_networks: tuple[Network, ...] = ()
    trusted_account: str = ""
    proxy_protocol_from: tuple[Network, ...] = ()
    duplicate_window: Duration = timedelta()
    long_lines: Literal["refuse", "accept"] = "refuse"
    lockout: Lockout = Lockout()
    tls: ServerTls = ServerTls()
    max_message_size: Size = 25_000_000
    max_recipients: Positive = 1000
    max_connections: Positive = 500
    max_connections_per_ip: Positive = 50
    idle_timeout: PositiveDuration = timedelta(minutes=5)
    min_data_rate: Size = 500
    receive_memory: Size = 256_000_000
    max_commands_without_mail: Positive = 200
    banner_delay: Duration = timedelta()
    trace_client_address: Flag = False


class InboundSettings(Part):
    """`[inbound]`: what comes back. The two unset addresses are filled in by `Settings`."""

    listen: tuple[ListenField, ...] = (Listen("0.0.0.0", 25), Listen("::", 25))  # noqa: S104  the service's purpose
    return_path_domain: DomainOrNone = ""
    feedback_address: MailAddress = ""
    postmaster: MailAddress = ""
    abuse: MailAddress = ""
    forward_autoreplies: Flag = True


class HttpSettings(Part):
    """`[http]`: metrics, health, status page and API."""

    listen: tuple[ListenField, ...] = (Listen("127.0.0.1", 8025),)
    public_listen: tuple[ListenField, ...] = ()
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#]+[^\s?#]*)?$")] = ""
    tls: ServerTls = ServerTls()
    trusted_proxies: tuple[Network, ...] = ()


class BackOff(Part):
    """How long a site that cannot be reached is left alone: `first`, then twice as long each time, up to `max`."""

    first: PositiveDuration = timedelta(minutes=1)
    max: PositiveDuration = timedelta(hours=1)


class QueueSettings(Part):
    """`[queue]`: when to try again and when to give up."""

    retry: tuple[PositiveDuration, ...] = tuple(timedelta(minutes=m) for m in (5, 10, 20, 40, 60, 120, 240))
    max_age: MaxAgeField = DEFAULT_MAX_AGE
    delay_notice_after: Duration = timedelta(hours=4)
    max_hold: PositiveDuration = timedelta(days=30)
    min_free: Share = 0.05
    stop_grace: Duration = timedelta(seconds=60)
    back_off: BackOff = BackOff()


class Timeouts(Part):
    """How long a receiving server is waited for, step by step (RFC 5321 §4.5.3.2); `attempt` spans all of them."""

    connect: PositiveDuration = timedelta(seconds=30)
    greeting: PositiveDuration = timedelta(minutes=5)
    command: PositiveDuration = timedelta(minutes=5)
    data: PositiveDuration = timedelta(minutes=2)
    block: PositiveDuration = timedelta(minutes=3)
    final: PositiveDuration = timedelta(minutes=10)
    attempt: PositiveDuration = timedelta(minutes=30)


class DeliverySettings(Part):
    """`[delivery]`: the way out."""

    resolvers: tuple[NameserverField, ...] = ()
    tls: TlsDemand = "opportunistic"
    max_connections: Positive = 500
    addresses: Literal["auto", "dual", "ipv4", "ipv6"] = "auto"
    allow_networks: tuple[Network, ...] = ()
    port: Port = 25
    batch_above: Size = 1_000_000
    ca_file: OptionalPath = None
    mta_sts: Flag = True
    dane: Literal["auto", "off"] = "auto"
    tls_reports: Flag = True
    timeouts: Timeouts = Timeouts()


class RouteEntry(Part):
    """One `[[route]]`: domains that go to a relay, or are held, whatever MX says.

    An unset `tls` takes what the relay's URL implies; a set one stands in `relay.tls` too. An unset `account` means
    every account's mail.
    """

    domain: DomainPattern
    relay: RelayField = None
    tls: RelayTls | None = None
    account: str = ""
    fallback: Flag = False
    client_cert: OptionalPath = None
    client_key: OptionalPath = None
    hold: Flag = False
    batch: Flag = False

    @model_validator(mode="after")
    def _demand_reaches_the_relay(self) -> "RouteEntry":
        if self.relay and self.tls:
            lowest = self.tls == "opportunistic" and self.relay.scheme == "smtps"
            # The model is frozen for everybody else; here it is still being made.
            self.__dict__["relay"] = replace(self.relay, tls="require" if lowest else self.tls)
        return self


class ShapingEntry(Part):
    """One `[[shaping]]`: how gently one provider is treated; None leaves the shipped rule."""

    site: Annotated[str, Field(min_length=1)]
    max_connections: Positive | None = None
    rate: RateField | None = None
    messages_per_connection: Positive | None = None


class SourceEntry(Part):
    """One `[[source]]`: an address to send from; `ehlo` None means the host's name."""

    name: AccountName
    address: Address
    ehlo: OptionalDomain = None
    pool: AccountName = "main"
    warmup: Annotated[date, Field(strict=True)] | None = None


class DkimKey(Part):
    """A selector and the file of its private key."""

    selector: Selector
    key: PathField


class DomainEntry(Part):
    """One `[[domain]]`: `dkim` () means unsigned on purpose, None that no key is configured here."""

    name: DomainName
    return_path: OptionalDomain = None
    dkim: tuple[DkimKey, ...] | None = None


class Tracking(Part):
    """What is learnt of recipients; all off."""

    opens: Flag = False
    clicks: Flag = False
    record_ip: Flag = False


class Webhook(Part):
    """Where an account's events are posted, and what they are signed with."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s]*$")]
    secret: SecretField


class AccountEntry(Part):
    """One `[[account]]`: who may send, and from which domains; no `password_hash`: no login by password."""

    name: AccountName
    password_hash: PasswordHash = None
    scram: ScramVerifier = None
    contact: MailAddress = ""
    domains: tuple[DomainName, ...]
    stream: Stream = "transactional"
    weight: Positive = 1
    rate: RateField | None = None
    max_recipients: Positive | None = None
    max_message_size: Size | None = None
    max_connections: Positive | None = None
    first_time_recipients_per_day: Count | None = None
    pool: AccountName = "main"
    may_waive_tls: bool = False
    tracking: Tracking = Tracking()
    allow_from: tuple[Network, ...] = ()
    webhook: Webhook | None = None


class BounceRate(Part):
    """Shares of hard bounces among messages in a final state."""

    warn: Fraction = 0.05
    suspend: Fraction = 0.10


class ComplaintRate(Part):
    """Shares of complaints among delivered messages."""

    warn: Fraction = 0.001
    suspend: Fraction = 0.002


class ReputationSettings(Part):
    """`[reputation]`: when an account is warned and suspended."""

    windows: Annotated[tuple[PositiveDuration, ...], Field(min_length=1)] = (timedelta(hours=24), timedelta(days=7))
    min_volume: Positive = 500
    warn_min_volume: Positive = 100
    scope: Literal["stream", "account"] = "stream"
    bounce_rate: BounceRate = BounceRate()
    complaint_rate: ComplaintRate = ComplaintRate()
    dormant_after: PositiveDuration = timedelta(days=730)
    first_time_recipients_per_day: Count = 0
    require_consent: Flag = False


class SoftBounces(Part):
    """How many soft bounces in how long, without a success in between, suppress a recipient."""

    count: Positive = 5
    over: PositiveDuration = timedelta(days=14)


class SuppressionExpiry(Part):
    """How long a recipient stays out, by reason; None is for ever."""

    hard_bounce: Expiry = None
    soft_bounce: Expiry = timedelta(days=30)
    complaint: Expiry = None
    unsubscribe: Expiry = None


class SuppressionSettings(Part):
    """`[suppression]`: who is not written to any more."""

    soft_bounces: SoftBounces = SoftBounces()
    expiry: SuppressionExpiry = SuppressionExpiry()


class SecretsSettings(Part):
    """`[secrets]`: the keyring that tokens and hashes are made with; `keyring.file` is the file that is rotated."""

    keyring: SecretKeptApart = Secret(file=Path("keyring.json"))


class LogSettings(Part):
    """`[log]`: how events are written down."""

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class PrivacySettings(Part):
    """`[privacy]`: what is kept, and how long."""

    keep_body_after_final: Duration = timedelta()
    keep_events: PositiveDuration = timedelta(days=90)
    trash: Duration = timedelta(days=30)
    redact_logs: Literal["none", "hash", "domain"] = "none"


class Settings(Part):
    """The whole configuration. Unset addresses of `[inbound]` are derived from the host's name."""

    hostname: DomainName
    data_dir: PathField = Path("/var/lib/mta")
    workers: Workers = "auto"
    store: StoreSettings = StoreSettings()
    submission: SubmissionSettings = SubmissionSettings()
    inbound: InboundSettings = InboundSettings()
    http: HttpSettings = HttpSettings()
    queue: QueueSettings = QueueSettings()
    delivery: DeliverySettings = DeliverySettings()
    route: tuple[RouteEntry, ...] = ()
    shaping: tuple[ShapingEntry, ...] = ()
    source: tuple[SourceEntry, ...] = ()
    domain: tuple[DomainEntry, ...] = ()
    account: tuple[AccountEntry, ...] = ()
    reputation: ReputationSettings = ReputationSettings()
    suppression: SuppressionSettings = SuppressionSettings()
    secrets: SecretsSettings = SecretsSettings()
    log: LogSettings = LogSettings()
    privacy: PrivacySettings = PrivacySettings()

    @property
    def store_path(self) -> Path:
        """The store's file, `data_dir` before it unless it is absolute."""
        return self.data_dir / self.store.url.path

    @model_validator(mode="after")
    def _derive_inbound(self) -> "Settings":
        domain = self.inbound.return_path_domain or f"bounces.{self._own_domain()}"
        address = self.inbound.feedback_address or f"fbl@{domain}"
        # As in RouteEntry: still being made.
        self.__dict__["inbound"] = self.inbound.model_copy(
            update={"return_path_domain": domain, "feedback_address": address}
        )
        return self

    def _own_domain(self) -> str:
        """Return the host's name without its first label, unless that would leave what belongs to others."""
        parent = self.hostname.partition(".")[2]
        is_a_domain = any(domain.name == self.hostname for domain in self.domain)
        return self.hostname if is_a_domain or "." not in parent else parent
