"""Automatic answers, and letters of people who want to leave."""

import pytest

from mta.bounces.reading import read
from mta.bounces.report import Kind
from mta.bounces.rules import Rules
from tests.bounces.letters import plain

REPLIED = {"Auto_Submitted": "auto-replied"}


@pytest.mark.parametrize(
    ("subject", "text", "fields", "reason"),
    [
        ("Re: Offers", "I am out of the office until Monday.", REPLIED, "vacation"),
        ("Abwesenheitsnotiz: Angebot", "Ich bin im Urlaub.", REPLIED, "vacation"),
        ("Réponse automatique : offre", "Je suis absent du bureau.", {}, "vacation"),
        ("Respuesta automática", "Estoy fuera de la oficina.", {"Precedence": "bulk"}, "vacation"),
        ("Risposta automatica", "Sono in ferie.", {}, "vacation"),
        ("Automatisch antwoord: aanbod", "Ik ben afwezig.", {}, "vacation"),
        ("Автоответ", "Я в отпуске.", {"X_Autoreply": "yes"}, "vacation"),
        ("自動返信", "不在にしております。", {"Precedence": "auto_reply"}, "vacation"),
        ("Out of Office: mail delivery", "Undeliverable things may wait.", {"Return_Path": "<>"}, "vacation"),
        ("Automatic reply", "I have left the company. Write to lou@dest.example.", REPLIED, "left"),
        ("[Ticket #12] We received your request", "Thank you.", {"Auto_Submitted": "auto-generated"}, "ack"),
        ("Please confirm your message", "Click to confirm that you are a person.", REPLIED, "challenge"),
        ("zxq", "zxq", REPLIED, None),
    ],
)
def test_an_automatic_answer_is(
    subject: str, text: str, fields: dict[str, str], reason: str | None, rules: Rules
) -> None:
    found = read(plain(text, Subject=subject, **fields), rules)
    assert (found.kind, found.reason, found.recipients) == (Kind.AUTOREPLY, reason, ())


@pytest.mark.parametrize(
    ("subject", "text", "fields"),
    [
        ("Lunch?", "I am out of the office until Monday.", {}),
        ("Thank you for your message", "See you.", {}),
        ("Your invoice", "Here it is.", {"Auto_Submitted": "auto-generated"}),
        ("Vacation offers", "Ten days by the sea.", {"List_Id": "<offers.example>", "Precedence": "bulk"}),
        ("Re: Offers", "We are on vacation next week, can we talk today?", {"Auto_Submitted": "no"}),
    ],
)
def test_what_a_person_or_a_program_for_many_writes_is_no_answer(
    subject: str, text: str, fields: dict[str, str], rules: Rules
) -> None:
    assert read(plain(text, Subject=subject, **fields), rules).kind is Kind.OTHER


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("unsubscribe", ""),
        ("Unsubscribe c42.r18", "Unsubscribe"),
        ("", "Please remove me from your mailing list, thanks"),
        ("Re: Offers", "unsubscribe\n\n> Our offers of today:\n> everything must go"),
        ("Bitte abmelden", ""),
        ("désabonner", ""),
        ("отписаться", ""),
        ("退订", ""),
        ("STOP", "\n-- \nKay\nHead of everything"),
    ],
)
def test_somebody_wants_to_leave(subject: str, text: str, rules: Rules) -> None:
    assert read(plain(text, Subject=subject), rules).kind is Kind.UNSUBSCRIBE


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Remove the duplicates in the table", "as discussed"),
        ("How does unsubscribe work?", "I would rather read the manual first."),
        ("Stop by tomorrow", "at noon"),
        ("Offers", "Please do not unsubscribe me, I love it."),
        ("", ""),
    ],
)
def test_a_letter_that_says_more_is_a_letter(subject: str, text: str, rules: Rules) -> None:
    assert read(plain(text, Subject=subject), rules).kind is Kind.OTHER
