"""Every reply that we cause, by name (RFC 5321 §4.2.3, RFC 3463, RFC 5248). The texts are what operators grep for.

Replies with a variable part are functions; what they are given is cleaned by `Reply.of`.
"""

from mta.mail.reply import Reply

# --- accepted
OK = Reply.of(250, "2.0.0", "Ok")
SENDER_OK = Reply.of(250, "2.1.0", "Ok")
RECIPIENT_OK = Reply.of(250, "2.1.5", "Ok")
AUTHENTICATED = Reply.of(235, "2.7.0", "Authentication successful")
BYE = Reply.of(221, "2.0.0", "Bye")
READY_FOR_TLS = Reply.of(220, "2.0.0", "Ready to start TLS")
CANNOT_VERIFY = Reply.of(252, "2.5.2", "Cannot VRFY user; send some mail and see")


HELP = Reply.of(214, "2.0.0", "See RFC 5321 for commands and RFC 6409 for submission")
START_INPUT = Reply(354, None, "End data with <CR><LF>.<CR><LF>")


def chunk_taken(octets: int) -> Reply:
    """A chunk that is not the last one is here; nothing is on stable storage yet (RFC 3030 §2)."""
    return Reply.of(250, "2.0.0", f"Ok: {octets} octets received")


def queued(queue_id: str) -> Reply:
    """The message is on stable storage."""
    return Reply.of(250, "2.0.0", f"Ok: queued as {queue_id}")


# --- order and syntax
NEED_EHLO = Reply.of(503, "5.5.1", "Error: send HELO/EHLO first")
NEED_MAIL = Reply.of(503, "5.5.1", "Error: need MAIL command")
NEED_RCPT = Reply.of(503, "5.5.1", "Error: need RCPT command")
NESTED_MAIL = Reply.of(503, "5.5.1", "Error: nested MAIL command")
CHUNKS_FAILED = Reply.of(503, "5.5.1", "Error: an earlier chunk was refused; send RSET or MAIL")
IN_CHUNKS = Reply.of(503, "5.5.1", "Error: chunks of a message have been received; send BDAT or RSET")
BAD_CHUNK = Reply.of(501, "5.5.4", "Bad chunk size: BDAT takes a number of octets, and perhaps LAST")
OUT_OF_STEP = Reply.of(421, "4.7.0", "Error: cannot tell commands from content any more, closing connection")
EARLY_TALKER = Reply.of(554, "5.5.1", "Error: data before the greeting")
ALREADY_AUTHENTICATED = Reply.of(503, "5.5.1", "Error: already authenticated")
AUTH_IN_TRANSACTION = Reply.of(503, "5.5.1", "Error: MAIL transaction in progress")
PIPELINED_STARTTLS = Reply.of(554, "5.5.1", "Error: commands pipelined after STARTTLS")
TLS_ACTIVE = Reply.of(503, "5.5.1", "Error: TLS already active")
BAD_SYNTAX = Reply.of(501, "5.5.4", "Syntax error in parameters or arguments")
UNKNOWN_COMMAND = Reply.of(500, "5.5.2", "Error: command not recognized")
NOT_IMPLEMENTED = Reply.of(502, "5.5.1", "Error: command not implemented")
LINE_TOO_LONG = Reply.of(500, "5.5.2", "Error: line too long")
BAD_ENCODING = Reply.of(500, "5.5.2", "Error: bad UTF-8 or a control character in the command")
UNKNOWN_MECHANISM = Reply.of(504, "5.5.4", "Unrecognized authentication type")
BAD_BASE64 = Reply.of(501, "5.5.2", "Cannot decode the response as base64")
AUTH_LINE_TOO_LONG = Reply.of(500, "5.5.6", "Authentication exchange line is too long")
AUTH_CANCELLED = Reply.of(501, "5.7.0", "Authentication cancelled")


def bad_sender(why: str) -> Reply:
    """The reverse-path does not parse."""
    return Reply.of(501, "5.1.7", f"Bad sender address syntax: {why}")


def bad_recipient(why: str) -> Reply:
    """The forward-path does not parse."""
    return Reply.of(501, "5.1.3", f"Bad recipient address syntax: {why}")


def unknown_parameter(name: str) -> Reply:
    """An ESMTP parameter that was not offered (RFC 5321 §4.1.1.11)."""
    return Reply.of(555, "5.5.4", f"Unsupported option: {name}")


def bad_parameter(name: str) -> Reply:
    """A known ESMTP parameter with a value that it cannot have, or given twice."""
    return Reply.of(501, "5.5.4", f"Bad value for {name}")


def bad_release(why: str) -> Reply:
    """HOLDFOR or HOLDUNTIL asks for what cannot be: all of it counts as a wrong parameter (RFC 4865 §4)."""
    return Reply.of(501, "5.5.4", f"Bad release time: {why}")


# --- who may
AUTH_REQUIRED = Reply.of(530, "5.7.0", "Authentication required")
TLS_REQUIRED = Reply.of(538, "5.7.11", "Encryption required for requested authentication mechanism")
BAD_CREDENTIALS = Reply.of(535, "5.7.8", "Error: authentication failed")
AUTH_UNAVAILABLE = Reply.of(454, "4.7.0", "Temporary authentication failure")
LOCKED_OUT = Reply.of(454, "4.7.0", "Too many failed logins from your network; try again later")
TOO_MANY_ERRORS = Reply.of(421, "4.7.0", "Error: too many errors")
TOO_MANY_COMMANDS = Reply.of(421, "4.7.0", "Error: too many commands without a message")
TOO_MANY_CONNECTIONS = Reply.of(421, "4.7.0", "Error: too many connections")
RELAY_DENIED = Reply.of(550, "5.7.1", "Relay access denied")
NO_SUCH_RECIPIENT = Reply.of(550, "5.1.1", "Recipient address rejected: there is no such mailbox here")


def sender_not_yours(domain: str, account: str) -> Reply:
    """The reverse-path's or From's domain is not the account's."""
    return Reply.of(550, "5.7.1", f"Sender domain {domain} is not one that account {account} may send from")


def suppressed(why: str) -> Reply:
    """The recipient is on the account's suppression list."""
    return Reply.of(550, "5.7.1", f"Recipient suppressed: {why}")


def suspended(what: str, why: str) -> Reply:
    """The account, or its stream, may not send."""
    return Reply.of(550, "5.7.1", f"{what} is suspended: {why}")


def account_gone(account: str) -> Reply:
    """The account was taken away while its client was connected."""
    return Reply.of(421, "4.7.0", f"Error: account {account} may not be used any more")


def too_many_connections_of(account: str, most: int) -> Reply:
    """The account has as many connections as it may."""
    return Reply.of(421, "4.7.0", f"Error: account {account} has {most} connections already, which is its limit")


# --- limits and content
TOO_MANY_RECIPIENTS = Reply.of(452, "4.5.3", "Error: too many recipients")
TOO_LARGE = Reply.of(552, "5.3.4", "Message size exceeds fixed limit")
HEADER_TOO_LARGE = Reply.of(552, "5.3.4", "Message header size exceeds fixed limit")
NO_SPACE = Reply.of(452, "4.3.1", "Insufficient system storage")
STORE_UNAVAILABLE = Reply.of(451, "4.3.0", "Queue temporarily unavailable")
BARE_LINE_END = Reply.of(550, "5.6.0", "Message contains a bare CR or LF, or a NUL")
LONG_LINE = Reply.of(554, "5.6.0", "Message contains a line of more than 998 octets")
MAIL_LOOP = Reply.of(554, "5.4.6", "Error: too many hops")
NO_FROM = Reply.of(550, "5.6.0", "Message has no From field, or one without an address (RFC 5322 section 3.6)")
BAD_FIRST_LINE = Reply.of(550, "5.6.0", "Message header begins with a continuation line")
NOT_A_FIELD = Reply.of(550, "5.6.0", "Message header has a line that is no field (RFC 5322 section 2.2)")
MANY_FROM = Reply.of(550, "5.6.0", "Message has more than one From field (RFC 5322 section 3.6)")
TIMEOUT = Reply.of(421, "4.4.2", "Error: timeout exceeded")
TOO_SLOW = Reply.of(421, "4.4.2", "Error: data comes too slowly")
SHUTTING_DOWN = Reply.of(421, "4.3.2", "Service shutting down")


def over_rate(account: str, rate: str, when: str = "later") -> Reply:
    """The account has sent as many as it may."""
    return Reply.of(451, "4.7.1", f"Account {account} has used up its rate of {rate}; try again {when}")


def first_time_used_up(account: str, most: int, when: str = "later") -> Reply:
    """The account has written to as many addresses for the first time as it may."""
    what = f"has used up its {most} first-time recipients a day"
    return Reply.of(451, "4.7.1", f"Account {account} {what}; nothing was accepted, try again {when}")


def bad_originator(why: str) -> Reply:
    """A From or Sender field that cannot be read, or not in one way only (RFC 5322 §3.6.2)."""
    return Reply.of(550, "5.6.0", f"Bad From or Sender field: {why}")


def bad_control_field(name: str, why: str) -> Reply:
    """A control field of ours has a value that it cannot have."""
    return Reply.of(550, "5.6.0", f"Bad {name} field: {why}")


def internal(incident: str) -> Reply:
    """Something unexpected; the log has the traceback under the same id."""
    return Reply.of(451, "4.3.0", f"Internal error {incident}; try again later")


# --- delivery, said to ourselves
DNS_TROUBLE = Reply.of(451, "4.4.3", "The domain's name servers did not answer")
NO_SUCH_DOMAIN = Reply.of(550, "5.1.2", "The domain does not exist")
NO_HOST = Reply.of(550, "5.4.4", "The domain has no host that receives mail")
NULL_MX = Reply.of(556, "5.1.10", "The domain does not accept mail (null MX)")
ROUTING_LOOP = Reply.of(554, "5.4.6", "Mail for the domain loops back to this server")
NO_CONNECTION = Reply.of(451, "4.4.1", "No connection to the host")
CONNECTION_LOST = Reply.of(451, "4.4.2", "The host closed the connection")
HOST_TIMEOUT = Reply.of(451, "4.4.2", "The host did not answer in time")
ATTEMPT_TIMEOUT = Reply.of(451, "4.4.7", "The attempt took too long")
TLS_NOT_OFFERED = Reply.of(451, "4.7.10", "The host does not offer TLS, which is required")
TLS_FAILED = Reply.of(451, "4.7.5", "The TLS handshake with the host failed")
TLS_POLICY = Reply.of(451, "4.7.5", "A policy about TLS forbids to send to the host")
NO_REQUIRETLS = Reply.of(550, "5.7.30", "The message requires TLS all the way and the host does not offer REQUIRETLS")
ENCRYPTION_NEEDED = Reply.of(550, "5.7.10", "The message requires TLS with a host that proves itself")
NO_EIGHT_BIT = Reply.of(550, "5.6.3", "The message has 8-bit content and the host does not take it")
NO_SMTPUTF8 = Reply.of(550, "5.6.7", "The message needs SMTPUTF8 and the host does not offer it")
REMOTE_TOO_LARGE = Reply.of(552, "5.3.4", "The message is larger than the host takes")
PROTOCOL_ERROR = Reply.of(451, "4.5.0", "The host does not speak SMTP properly")
EXPIRED_WAITING = Reply.of(451, "4.4.7", "The delivery's time was over before it could be attempted")
STILL_WAITING = Reply.of(451, "4.4.0", "The delivery waits, and could not be attempted yet")
LEASE_LOST = Reply.of(451, "4.3.0", "The lease of this delivery was lost; another attempt is under way")
INTERNAL_DEFERRAL = Reply.of(451, "4.3.0", "Internal error during the attempt; the log has the details")
