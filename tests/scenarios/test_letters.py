"""Mail from people to postmaster and abuse: kept, and listed."""

from mta.clock import SystemClock
from mta.queue.returned import ReturnNote
from mta.storage.reading import Reader
from tests.scenarios.house import House
from tests.scenarios.reports import DOMAIN

LETTER = b"From: jane@example.net\r\nSubject: Your mail\r\n\r\n.\r\nPlease stop it.\r\n"


async def test_letters_to_postmaster_and_abuse_are_kept_and_listed(house: House) -> None:
    for address in ("postmaster", f"Postmaster@{DOMAIN}", "postmaster@mail.example.com", f"abuse@{DOMAIN}"):
        assert (await house.bring(address, LETTER, "jane@example.net")).startswith("250 "), address
    letters = await _letters(house)
    assert sorted(letter.kind for letter in letters) == ["abuse", "postmaster", "postmaster", "postmaster"]
    assert {(letter.text, letter.recipient, letter.octets) for letter in letters} == {
        ("Your mail", "jane@example.net", LETTER)
    }
    assert await house.happened() == [], "and that is all that comes of it"


async def test_a_letter_that_was_taken_survives_a_crash(house: House) -> None:
    await house.bring(f"abuse@{DOMAIN}", LETTER, "jane@example.net")
    await house.server.kill()
    await house.server.start()
    assert [letter.octets for letter in await _letters(house)] == [LETTER]


async def test_the_operator_lists_and_reads_letters_by_command(house: House) -> None:
    await house.bring("postmaster", LETTER, "jane@example.net")
    code, output = await house.server.command("bounces", "list")
    assert code == 0, output
    assert "Your mail" in output


async def _letters(house: House) -> list[ReturnNote]:
    async with Reader.open(str(house.folder / "data" / "queue.db"), SystemClock()) as reader:
        found = [await reader.letter(note.id) for note in await reader.returns()]
    return [letter for letter in found if letter is not None]
