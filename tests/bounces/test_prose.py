"""Failures told in prose: formats of many mail systems, and letters that only look like them."""

from dataclasses import dataclass

import pytest

from mta.bounces.reading import read
from mta.bounces.report import Hardness, Kind, Reason, Report
from mta.bounces.rules import Rules

RETURNED = """Received: from send.example.org ([192.0.2.1]) by mx.example.net; Tue, 14 Oct 2025 09:00:00 +0000
From: Shop <shop@send.example.org>
To: somebody.else@dest.example
Subject: Virus warning: your mailbox is full
Message-ID: <original@send.example.org>
"""


@dataclass(frozen=True)
class Told:
    sender: str
    subject: str
    text: str
    recipients: tuple[str, ...]
    reason: Reason | None
    code: int | None = None
    status: str | None = None


NOTICES = {
    "Apache James": Told(
        "postmaster@james.example",
        "Re: Hello",
        "Hi. This is the James mail server at james.example.\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        "kay@dest.example\n\nError message below:\n550 5.1.1 <kay@dest.example>: no such user here\n\n"
        "Message details:\n  Subject: Hello\n  MAIL FROM: shop@send.example.org\n",
        ("kay@dest.example",),
        Reason.BAD_MAILBOX,
        550,
        "5.1.1",
    ),
    "OpenSMTPD": Told(
        "Mailer Daemon <MAILER-DAEMON@bsd.example>",
        "Delivery status notification: error",
        "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\n"
        "    An error has occurred while attempting to deliver a message for\n"
        "    the following list of recipients:\n\n"
        "kay@dest.example: 552 5.2.2 Mailbox full\nlou@dest.example: 550 5.1.1 No such user\n\n"
        f"    Below is a copy of the original message:\n\n{RETURNED}",
        ("kay@dest.example", "lou@dest.example"),
        Reason.MAILBOX_FULL,
        552,
        "5.2.2",
    ),
    "a hosting company": Told(
        "Mail Delivery System <mailer-daemon@host.example>",
        "Mail delivery failed: returning message to sender",
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be\n"
        'delivered to one or more of its recipients. The following\naddresses failed:\n\n"kay@dest.example"\n'
        "SMTP error from remote server after RCPT command:\nhost: mx.dest.example\n5.1.1 User Unknown\n\n"
        f"--- The header of the original message is following. ---\n{RETURNED}",
        ("kay@dest.example",),
        Reason.BAD_MAILBOX,
        None,
        "5.1.1",
    ),
    "IMail": Told(
        "Postmaster <postmaster@imail.example>",
        "Undeliverable Mail",
        f"Unknown user: kay@dest.example\n\n\nOriginal message follows.\n\n{RETURNED}",
        ("kay@dest.example",),
        Reason.BAD_MAILBOX,
    ),
    "a mobile network": Told(
        "Mail Administrator <postmaster@mobile.example>",
        "Mail System Error - Returned Mail",
        "Your mail sent on: Tue, 14 Oct 2025 09:00:00 +0900\n"
        " Could not be delivered to: <kay@mobile.example>\n  As their mailbox is full.\n",
        ("kay@mobile.example",),
        Reason.MAILBOX_FULL,
    ),
    "Sun Messaging Server": Told(
        "Internet Mail Delivery <postmaster@sun.example>",
        "Delivery Notification: Delivery has failed",
        "This report relates to a message you sent with the following header fields:\n\n"
        "  Message-id: <original@send.example.org>\n  From: Shop <shop2@send.example.org>\n"
        "  To: Kay <list@dest.example>\n"
        "  Subject: Virus\n\nYour message cannot be delivered to the following recipients:\n\n"
        "  Recipient address: kay@dest.example\n  Reason: Remote SMTP server has rejected address\n"
        "  Diagnostic code: smtp;550 5.7.1 Message rejected as spam\n",
        ("kay@dest.example",),
        Reason.SPAM,
        550,
        "5.7.1",
    ),
    "Lotus Notes": Told(
        "Mailer Daemon <mailer-daemon@notes.example>",
        "Delivery failure notice",
        "------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\nkay@notes.example\n\n\n"
        f"------- Returned Message --------\n\n{RETURNED}",
        ("kay@notes.example",),
        Reason.BAD_MAILBOX,
    ),
    "a mail client's gateway": Told(
        "Postmaster <postmaster@gate.example>",
        "There was an error sending your mail",
        "We had trouble delivering your message. Full details follow:\n\nSubject: 'Virus'\n\n1 error(s):\n\n"
        "SMTP Server <mx.dest.example> rejected recipient <kay@dest.example> (Error following RCPT command). "
        "It responded as follows: [550 5.1.1 User unknown]\n",
        ("kay@dest.example",),
        Reason.BAD_MAILBOX,
        550,
        "5.1.1",
    ),
    "Exchange Online": Told(
        "Microsoft Outlook <postmaster@example.onmicrosoft.example>",
        "Undeliverable: Hello",
        "Your message to kay@dest.example couldn't be delivered.\n\nkay wasn't found at dest.example.\n\nRemote Server "
        "returned '550 5.7.520 Message blocked because it contains content identified as spam. AS(4810)'\n\n"
        f"Original Message Headers\n{RETURNED}",
        ("kay@dest.example",),
        Reason.SPAM,
        550,
        "5.7.520",
    ),
    "German": Told(
        "Mail Delivery System <MAILER-DAEMON@post.example>",
        "Unzustellbare Nachricht",
        "Ihre Nachricht konnte an folgende Empfänger nicht zugestellt werden:\n\n<kay@post.example>\n"
        f"Das Postfach ist voll.\n\nUrsprüngliche Nachricht:\n{RETURNED}",
        ("kay@post.example",),
        Reason.MAILBOX_FULL,
    ),
    "French": Told(
        "postmaster@poste.example",
        "Echec de la remise",
        "Votre message n'a pas pu être remis aux destinataires suivants :\n\n  kay@poste.example\n"
        "  Utilisateur inconnu\n",
        ("kay@poste.example",),
        Reason.BAD_MAILBOX,
    ),
    "Chinese": Told(
        "PostMaster <postmaster@you.example>",
        "系统退信/Systems bounce",
        "抱歉，您的邮件被退回来了……\n\n收件人：<kay@you.example>\n退信原因：收件人邮箱空间不足，邮箱已满\n",
        ("kay@you.example",),
        Reason.MAILBOX_FULL,
    ),
    "mail to oneself": Told(
        "MAILER-DAEMON@dest.example",
        "failure notice",
        "Hi. This is the qmail-send program at dest.example.\n\n<shop@send.example.org>:\n"
        "Remote host said: 552 disk quota exceeded\n",
        ("shop@send.example.org",),
        Reason.MAILBOX_FULL,
        552,
    ),
    "sender refused": Told(
        "MAILER-DAEMON@dest.example",
        "failure notice",
        "Hi. This is the qmail-send program at dest.example.\n\n<kay@dest.example>:\n"
        "Connected to 192.0.2.7 but sender was rejected.\nRemote host said: 550 5.1.1 user unknown\n",
        ("kay@dest.example",),
        Reason.POLICY,
        550,
        "5.1.1",
    ),
}


def letter(told: Told, return_path: str = "<>") -> bytes:
    return (
        f"Return-Path: {return_path}\nFrom: {told.sender}\nTo: shop@send.example.org\nSubject: {told.subject}\n"
        f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{told.text}"
    ).encode()


@pytest.mark.parametrize("told", NOTICES.values(), ids=NOTICES.keys())
def test_a_notice_names_who_failed_and_why(told: Told, rules: Rules) -> None:
    report = read(letter(told), rules)
    first = report.recipients[0]
    assert report.kind is Kind.BOUNCE
    assert tuple(recipient.address for recipient in report.recipients) == told.recipients
    assert first.classification.reason is told.reason
    assert (first.smtp_code, str(first.status) if first.status else None) == (told.code, told.status)


def test_each_of_several_recipients_has_its_own_reason(rules: Rules) -> None:
    report = read(letter(NOTICES["OpenSMTPD"]), rules)
    assert [recipient.classification.reason for recipient in report.recipients] == [
        Reason.MAILBOX_FULL,
        Reason.BAD_MAILBOX,
    ]


def test_the_message_that_comes_back_is_found_behind_the_notice(rules: Rules) -> None:
    assert read(letter(NOTICES["IMail"]), rules).original_message_id == "<original@send.example.org>"


def test_what_is_refused_at_mail_is_never_hard(rules: Rules) -> None:
    (recipient,) = read(letter(NOTICES["sender refused"]), rules).recipients
    assert recipient.classification.hardness is Hardness.SOFT


def test_a_warning_is_delayed_and_nothing_failed(rules: Rules) -> None:
    told = Told(
        "MAILER-DAEMON@dest.example",
        "Warning: message still undelivered after 4 hours",
        "A message that you sent has not yet been delivered to:\n\n  kay@dest.example\n\n"
        "No action is required on your part.",
        (),
        None,
    )
    report = read(letter(told), rules)
    assert (report.kind, [str(recipient.action) for recipient in report.recipients]) == (Kind.DELAYED, ["delayed"])


QUOTED = "\n".join(f"> {line}" for line in NOTICES["IMail"].text.split("\n"))
NO_BOUNCES = {
    "a person asks about a bounce": (
        "Kay <kay@dest.example>",
        "Re: Undelivered Mail Returned to Sender",
        "Hello, your message to lou@dest.example could not be delivered:\n\n550 5.1.1 <lou@dest.example>: User unknown",
    ),
    "a person quotes a bounce": ("Kay <kay@dest.example>", "Problem", f"I got this today, what is it?\n{QUOTED}"),
    "a person forwards one": (
        "Kay <kay@dest.example>",
        "Fwd: failure notice",
        f"Please look.\n\n---------- Forwarded message ---------\n{NOTICES['IMail'].text}",
    ),
    "a parcel": ("Parcels <info@parcel.example>", "Delivery failed", "We could not deliver your parcel. Call us."),
    "a fake": (
        '"Mail Delivery System" <it@phish.example>',
        "Undelivered Mail: action required",
        "Dear shop@send.example.org,\n5 messages could not be delivered since your mailbox is full.\nhttps://x.example/",
    ),
    "a newsletter": ("News <news@news.example>", "Returned: our best offers", "The warning signs of a full mailbox."),
}


@pytest.mark.parametrize(("sender", "subject", "text"), NO_BOUNCES.values(), ids=NO_BOUNCES.keys())
def test_what_a_person_or_a_program_for_many_writes_is_no_bounce(
    sender: str, subject: str, text: str, rules: Rules
) -> None:
    told = Told(sender, subject, text, (), None)
    assert read(letter(told, return_path="<somebody@dest.example>"), rules) == Report(Kind.OTHER)


def test_a_from_that_is_nested_beyond_reading_is_nobodys(rules: Rules) -> None:
    octets = (
        b"From: " + b"(" * 20_000 + b"\r\nSubject: Undelivered Mail\r\n\r\nYour message could not be delivered.\r\n"
    )
    assert read(octets, rules).kind is Kind.OTHER
