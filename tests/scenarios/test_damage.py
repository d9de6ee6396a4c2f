"""A store that is not as it should be: what is damaged is set aside and told of, never sent, and the rest goes on; what
an older version wrote is brought up to date and delivered."""

import gzip
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios.house import PATIENCE, House, open_house

OLD = Path(__file__).parents[1] / "storage"
HELD = '\n[[route]]\ndomain = "example.net"\nhold = true\n'


def change(house: House, *statements: str) -> None:
    """Change the store of a server that does not run."""
    with closing(sqlite3.connect(house.folder / "data" / "queue.db")) as store, store:
        for statement in statements:
            assert store.execute(statement).rowcount == 1, statement


async def test_a_flipped_octet_and_a_corrupt_row_are_set_aside_and_the_rest_is_sent(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        house.sink.answer("RCPT", None, "450 4.7.1 later")
        async with house.server:
            sound, flipped, corrupt, illegible = [
                await house.submit(f"{name}@example.net") for name in ("sound", "flipped", "corrupt", "illegible")
            ]
            await house.see("all were attempted", lambda: len(_deferred(house)) == 4)
        change(
            house,
            f"UPDATE contents SET octets = CAST(replace(octets, 'Good', 'Gone') AS BLOB) "
            f"WHERE id = (SELECT content_at FROM messages WHERE id = '{flipped}')",
            f"UPDATE deliveries SET recipient = 'no address' WHERE queue_id = '{corrupt}'",
            f"UPDATE messages SET body_type = 'MORSE' WHERE id = '{illegible}'",
        )
        house.sink.answer("RCPT", None, "250 2.1.5 Ok")
        async with house.server:
            await house.see("the sound one is sent", lambda: _states(house, sound) == ["delivered"])
            for queue_id in (flipped, corrupt, illegible):
                await house.see("it is set aside", lambda queue_id=queue_id: _states(house, queue_id) == ["held"])  # type: ignore[misc]  # of mypy's own
                assert house.logged(queue_id) > 0
            (story,) = await house.why(flipped)
            assert "its octets are not those that were accepted" in str(story)
            # and the queue can be looked at and goes on
            code, output = await house.server.command("queue", "list")
            assert code == 0, output
            await house.submit("next@example.net")
            await house.sink.wait_for(2, PATIENCE)
        assert sorted(to for (to,) in house.sink.recipients) == ["next@example.net", "sound@example.net"]


def _deferred(house: House) -> set[str]:
    return {queue_id for (queue_id,) in house.rows("SELECT queue_id FROM events WHERE type = 'deferred'")}


def _states(house: House, queue_id: str) -> list[str]:
    return [state for (state,) in house.rows("SELECT state FROM deliveries WHERE queue_id = ?", queue_id)]


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        async with house.server:
            await house.submit("a@example.net")
            await house.sink.wait_for(1, PATIENCE)
        path = house.folder / "data" / "queue.db"
        with path.open("r+b") as file:
            # the second page on: the header stays readable
            file.seek(4096 + 8)
            file.write(b"\xff" * 4096 * 8)
        code, output = await house.server.command("serve")
        assert code != 0
        assert "is damaged" in output
        assert ".recover" in output
        assert "Traceback" not in output


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_mail_that_an_older_version_left_is_delivered(tmp_path: Path, version: int) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        path = house.folder / "data" / "queue.db"
        path.write_bytes(gzip.decompress((OLD / f"version{version}.db.gz").read_bytes()))
        now = int(time.time() * 1000)
        # what waits there was written at some time, and would be too old by now
        with closing(sqlite3.connect(path)) as store, store:
            if version == 1:
                # an account that no version ever wrote like this
                store.execute("DELETE FROM accounts")
            store.execute("UPDATE messages SET accepted_at = ?", (now,))
            store.execute("UPDATE deliveries SET due_at = ?", (now,))
            store.execute("UPDATE deliveries SET lease_until = ? WHERE state = 'active'", (now,))
            waiting = sorted(
                name
                for (name,) in store.execute("SELECT recipient FROM deliveries WHERE state IN ('queued', 'active')")
            )
        assert waiting != []
        async with house.server:
            await house.see("all of it is sent", lambda: len(house.sink.messages) >= len(waiting))
            await house.see("it is noted", lambda: not _waiting(house))
        assert sorted(to for (to,) in house.sink.recipients) == waiting


def _waiting(house: House) -> int:
    return int(house.rows("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'active')")[0][0])
