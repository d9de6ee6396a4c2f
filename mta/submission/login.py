"""AUTH, from the command's argument to who the client is (RFC 4954 §4): challenges and answers carried to and fro.

Who is who is the authenticator's; the mechanisms are in `sasl` and `scram`; octets are the connection's.
"""

from collections.abc import Awaitable, Callable

from mta.accounts.account import Login
from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission.auth import Applicant, Authenticator
from mta.submission.sasl import Credentials, Exchange, Malformed, Proof, decode, encode

Ask = Callable[[Reply], Awaitable[str | Reply]]
"""Says a challenge; returns the client's line, or the reply to one that cannot be read."""


async def log_in(authenticator: Authenticator, argument: str, applicant: Applicant, ask: Ask) -> Login | Reply:
    """Return who a client proves to be, or the reply by which it is refused.

    `argument` is what stands behind AUTH: a mechanism, and perhaps an initial response.
    """
    mechanism, _, initial = argument.partition(" ")
    exchange = authenticator.exchange(mechanism.upper(), applicant)
    if exchange is None:
        return failures.UNKNOWN_MECHANISM if mechanism else failures.BAD_SYNTAX
    claim = await _converse(exchange, initial, ask)
    return claim if isinstance(claim, Reply) else await authenticator.verify(claim, applicant)


async def _converse(exchange: Exchange, initial: str, ask: Ask) -> Credentials | Proof | Reply:
    """Carry challenges and answers until the client has said who it is."""
    challenge = next(exchange)
    # `=` stands for an empty initial response; no argument, for none (RFC 4954 §4)
    answer: str | Reply | None = initial.replace("=", "", 1) if initial == "=" else initial or None
    while True:
        if answer is None:
            answer = await ask(Reply(334, None, encode(challenge)))
        if isinstance(answer, Reply):
            return answer
        if answer == "*":
            return failures.AUTH_CANCELLED
        try:
            octets = decode(answer)
        except ValueError:
            return failures.BAD_BASE64
        try:
            challenge = exchange.send(octets)
        except Malformed as error:
            return Proof(trouble=str(error) or "what it sent is not what its mechanism sends")
        except StopIteration as done:
            claim: Credentials | Proof = done.value
            return claim
        answer = None
