"""The mailboxes of a From or Sender field (RFC 5322 §3.6.2), read strictly enough to decide who may send what.

What this parser takes for the author must be what every receiver takes for the author. So whatever could be read in two
ways is refused: source routes, groups, comments or blanks inside an address, phrases with an unquoted `@`. Display
names are left alone, encoded words included: they never become an address here. Runs in linear time.
"""

import re
from typing import NamedTuple

from mta.mail.address import Mailbox

MAX_FIELD = 16 * 1024
"""Octets of a From or Sender field; room for some hundred authors."""

# one step each, none of which can be entered in two ways: no backtracking
_WORD = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\].]+")
_QUOTED = re.compile(r'"(?:[^"\\\r\n\x00]|\\[^\r\n\x00])*"')
_BLANKS = re.compile(r"[ \t]+")
_COMMENT_STEP = re.compile(r"[^()\\\r\n\x00]+|\\[^\r\n\x00]|[()]")


class _Token(NamedTuple):
    kind: str
    """`word`, `quoted`, or the special character itself."""
    text: str
    glued: bool
    """Nothing stands between it and the token before."""


def parse_mailbox_list(value: bytes) -> tuple[Mailbox, ...]:
    """Return the mailboxes of an unfolded From field, one at least (RFC 5322 §3.4, RFC 6532 §3.2).

    Raises:
        ValueError: the value is no mailbox-list, or one that not every receiver would read in the same way.
    """
    if len(value) > MAX_FIELD:
        raise ValueError(f"a list of mailboxes of {len(value)} octets is longer than {MAX_FIELD}")
    tokens = _tokens(value.decode("utf-8", "surrogateescape"))
    mailboxes: list[Mailbox] = []
    entry: list[_Token] = []
    for token in tokens:
        if token.kind == ",":
            mailboxes.append(_mailbox(entry))
            entry = []
        else:
            entry.append(token)
    mailboxes.append(_mailbox(entry))
    return tuple(mailboxes)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, glued = 0, False
    while at < len(text):
        letter = text[at]
        if blanks := _BLANKS.match(text, at):
            at, glued = blanks.end(), False
        elif letter == "(":
            at, glued = _after_comment(text, at), False
        elif quoted := _QUOTED.match(text, at):
            tokens.append(_Token("quoted", quoted[0], glued))
            at, glued = quoted.end(), True
        elif word := _WORD.match(text, at):
            tokens.append(_Token("word", word[0], glued))
            at, glued = word.end(), True
        elif letter in ",<>@.":
            tokens.append(_Token(letter, letter, glued))
            at, glued = at + 1, True
        elif letter in ":;":
            raise ValueError("a group or a route stands in a list of mailboxes")
        else:
            raise ValueError(f"{letter!r} has no place in a list of mailboxes")
    return tokens


def _after_comment(text: str, start: int) -> int:
    depth, at = 0, start
    while step := _COMMENT_STEP.match(text, at):
        at = step.end()
        depth += {"(": 1, ")": -1}.get(step[0], 0)
        if depth == 0:
            return at
    raise ValueError("a comment does not end")


def _mailbox(entry: list[_Token]) -> Mailbox:
    """One entry between commas: `addr-spec`, or `[phrase] <addr-spec>`."""
    kinds = [token.kind for token in entry]
    if "<" not in kinds:
        return _address(entry)
    opening = kinds.index("<")
    if kinds.count("<") > 1 or kinds.count(">") > 1 or kinds[-1] != ">":
        raise ValueError("angle brackets do not stand around one address at the end")
    if "@" in kinds[:opening]:
        raise ValueError("a display name holds an unquoted @")
    return _address(entry[opening + 1 : -1])


def _address(tokens: list[_Token]) -> Mailbox:
    """An addr-spec. Blanks and comments may stand around it, not in it."""
    if not tokens:
        raise ValueError("an address is missing")
    if any(not token.glued for token in tokens[1:]):
        raise ValueError("a blank or a comment stands inside an address")
    if any(token.kind in "<>" for token in tokens):
        raise ValueError("an angle bracket stands alone")
    return Mailbox.parse("".join(token.text for token in tokens), utf8=True)
