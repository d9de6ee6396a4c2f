"""From settings to the doors' own: what the listeners, the acceptor and the authenticator are told."""

from collections.abc import Callable

from mta.config.settings import Settings
from mta.inbound.settings import InboundSettings
from mta.mail.token import Keyring
from mta.smtp.settings import Endpoint, Kind
from mta.submission.acceptor import AcceptorSettings
from mta.submission.auth import AuthSettings
from mta.submission.lockout import LockoutSettings
from mta.submission.settings import SubmissionSettings


def inbound_settings(settings: Settings) -> InboundSettings:
    """Return the inbound listener's own settings."""
    return InboundSettings(
        hostname=settings.hostname,
        endpoints=tuple(Endpoint(Kind.STARTTLS, each.host, each.port) for each in settings.inbound.listen),
        stop_grace=settings.queue.stop_grace,
    )


def submission_settings(settings: Settings) -> SubmissionSettings:
    """Return the submission listener's own settings."""
    submission = settings.submission
    kinds = (
        (Kind.STARTTLS, submission.listen),
        (Kind.TLS, submission.listen_tls),
        (Kind.PLAIN, submission.listen_plain),
    )
    return SubmissionSettings(
        hostname=settings.hostname,
        endpoints=tuple(Endpoint(kind, each.host, each.port) for kind, listen in kinds for each in listen),
        max_message_size=submission.max_message_size,
        max_recipients=submission.max_recipients,
        max_connections=submission.max_connections,
        max_connections_per_address=submission.max_connections_per_ip,
        idle_timeout=submission.idle_timeout,
        take_long_lines=submission.long_lines == "accept",
        stop_grace=settings.queue.stop_grace,
        max_hold=settings.queue.max_hold,
        min_data_rate=submission.min_data_rate or None,
        max_commands_without_mail=submission.max_commands_without_mail,
        banner_delay=submission.banner_delay,
        proxy_protocol_from=submission.proxy_protocol_from,
        offer_requiretls=True,
    )


def acceptor_settings(settings: Settings, return_path_domain: Callable[[str], str]) -> AcceptorSettings:
    """Return what goes into trace fields and return paths, and what holds for every account."""
    return AcceptorSettings(
        settings.hostname,
        return_path_domain,
        show_client_address=settings.submission.trace_client_address,
        duplicate_window=settings.submission.duplicate_window,
        first_time_recipients_per_day=settings.reputation.first_time_recipients_per_day,
        batch_above=settings.delivery.batch_above,
        pools=frozenset(source.pool for source in settings.source),
    )


def decoy_secret(keyring: Keyring) -> bytes:
    """Return what the salts of unknown names are made with: the oldest key's, so that no rotation changes them."""
    return keyring.keys[0].secret


def auth_settings(settings: Settings) -> AuthSettings:
    """Return what follows wrong passwords, and who need not log in."""
    submission = settings.submission
    lockout = submission.lockout
    return AuthSettings(
        lockout=LockoutSettings(lockout.attempts, lockout.window, lockout.delay_max),
        trusted_networks=submission.trusted_networks,
        trusted_account=submission.trusted_account,
    )
