"""`mta account`: of the configuration and of the store."""

import json
import smtplib
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mta.accounts.password import verify_password
from mta.accounts.scram import Verifier
from tests.cli.command import Command
from tests.scenarios.house import House


def logs_in(house: House, name: str, password: str) -> bool:
    with smtplib.SMTP(*house.server.address("submission"), timeout=20) as client:
        client.starttls(context=house.context())
        try:
            client.login(name, password)
        except smtplib.SMTPAuthenticationError:
            return False
        return True


def proves(text: str, password: str) -> bool:
    """Whether a verifier is of a password."""
    kept = Verifier.parse(text)
    return Verifier.make(password, kept.salt, kept.iterations) == kept


def test_list_and_show_work_before_there_is_a_store(mta: Command) -> None:
    expected = {
        "name": "app",
        "stream": "transactional",
        "domains": ["example.com"],
        "contact": "",
        "password": True,
        "scram": True,
        "may_waive_tls": False,
        "kept_in": "configuration",
        "standing": "good",
        "standings": [],
    }
    assert mta("account", "list", "--json").rows == [expected]
    assert mta("account", "show", "app", "--json").row == expected
    assert "argon2" not in mta("account", "show", "app").stdout


def test_who_may_waive_tls_is_told(mta: Command, site: Path, letterbox: dict[str, str]) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text().replace("[[account]]\n", "[[account]]\nmay_waive_tls = true\n", 1))
    kept: dict[str, dict[str, Any]] = {"waives": {"may_waive_tls": True}, "not": {}}
    rows = [(name, json.dumps({"name": name, "domains": ["shop.example"]} | each), 0, 0) for name, each in kept.items()]
    with sqlite3.connect(site / "data" / "queue.db") as store:
        store.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?)", rows)
    shown = mta("account", "list", "--json").rows
    assert {row["name"]: row["may_waive_tls"] for row in shown} == {"app": True, "waives": True, "not": False}
    assert mta("account", "show", "waives", "--json").row["may_waive_tls"] is True


def test_an_account_that_is_not_there_is_a_negative_answer(mta: Command) -> None:
    for verb in ("show", "passwd"):
        answer = mta("account", verb, "nobody")
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert "mta account list shows all" in answer.stderr


def test_an_account_made_by_command_can_log_in_and_get_another_password(live: Command, house: House) -> None:
    made = live("account", "add", "made", "--domain", "shop.example", "--stream", "bulk", "--json").row
    assert logs_in(house, "made", made["password"])
    shown = live("account", "show", "made", "--json").row
    assert (shown["kept_in"], shown["stream"], shown["domains"]) == ("store", "bulk", ["shop.example"])
    changed = live("account", "passwd", "made", "--json").row
    assert logs_in(house, "made", changed["password"])
    assert not logs_in(house, "made", made["password"])


def test_people_see_the_password_once(live: Command) -> None:
    answer = live("account", "add", "once", "--domain", "shop.example")
    assert answer.lines[0] == "account  once"
    assert answer.lines[1].endswith("(shown this once; only its hash is kept)")
    password = answer.lines[1].split()[1]
    assert password not in live("account", "show", "once").stdout + live("events", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["app", "--domain", "example.com"], 1),
        (["new", "--domain", "unknown.example"], 1),
        (["a b", "--domain", "example.com"], 65),
        (["new"], 2),
    ],
    ids=str,
)
def test_an_account_that_cannot_be_is_refused(live: Command, arguments: list[str], exit_code: int) -> None:
    assert live("account", "add", *arguments).exit_code == exit_code
    assert "new" not in [row["name"] for row in live("account", "list", "--json").rows]


def test_for_an_account_of_a_file_the_lines_to_paste_are_printed(mta: Command, site: Path) -> None:
    answer = mta("account", "passwd", "app")
    password, lines = answer.lines[0].split()[1], answer.lines[-2:]
    config = site / "mta.toml"
    for line in lines:
        key = line.partition(" ")[0]
        old = next(each for each in config.read_text().splitlines() if each.startswith(f"{key} = "))
        config.write_text(config.read_text().replace(old, line))
    assert mta("check").exit_code == 0
    (entry,) = tomllib.loads(config.read_text())["account"]
    assert verify_password(entry["password_hash"], password.encode())
    assert proves(entry["scram"], password)


def test_json_has_what_is_kept_for_a_program_to_put_there(mta: Command) -> None:
    row = mta("account", "passwd", "app", "--json").row
    assert verify_password(row["password_hash"], row["password"].encode())
    assert proves(row["scram"], row["password"])


def test_an_account_made_by_command_has_a_verifier_of_its_password(live: Command, house: House) -> None:
    made = live("account", "add", "proven", "--domain", "shop.example", "--json").row
    passwords = [made["password"], live("account", "passwd", "proven", "--json").row["password"]]
    assert live("account", "show", "proven", "--json").row["scram"] is True
    with sqlite3.connect(house.folder / "data" / "queue.db") as store:
        ((data,),) = store.execute("SELECT data FROM accounts WHERE name = 'proven'").fetchall()
    assert [proves(json.loads(data)["scram"], password) for password in passwords] == [False, True]


def test_an_account_is_suspended_and_reinstated(live: Command, house: House) -> None:
    live("account", "add", "naughty", "--domain", "shop.example")
    row = live("account", "suspend", "naughty", "--reason", "a stolen password", "--json").row
    assert row == {"account": "naughty", "stream": None, "standing": "suspended", "reason": "a stolen password"}
    assert live("account", "show", "naughty", "--json").row["standing"] == "suspended"
    assert live("account", "show", "naughty").lines[-1].endswith(": a stolen password")
    assert "suspended" in next(line for line in live("account", "list").lines if line.startswith("naughty"))
    answer = live("account", "reinstate", "naughty", "--reason", "it has another")
    assert answer.lines == ["account naughty may send again; deliveries released: 0"]
    assert live("account", "show", "naughty", "--json").row["standings"] == []


def test_a_stream_alone_is_suspended_and_reinstated_alone(live: Command) -> None:
    live("account", "add", "loud", "--domain", "shop.example")
    answer = live("account", "suspend", "loud", "--stream", "bulk", "--reason", "x")
    assert answer.lines[0].endswith("until: mta account reinstate loud --stream bulk")
    shown = live("account", "show", "loud", "--json").row
    assert (shown["standing"], shown["standings"][0]["stream"]) == ("suspended (bulk)", "bulk")
    refused = live("account", "reinstate", "loud", "--reason", "x")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "account loud as a whole is not suspended" in refused.stderr
    assert live("account", "reinstate", "loud", "--stream", "bulk", "--reason", "x", "--json").row["released"] == 0


def test_clients_of_a_suspended_account_hear_the_reason(live: Command, house: House) -> None:
    password = live("account", "add", "quiet", "--domain", "shop.example", "--json").row["password"]
    live("account", "suspend", "quiet", "--reason", "ask the office")
    with smtplib.SMTP(*house.server.address("submission"), timeout=20) as client:
        client.starttls(context=house.context())
        client.login("quiet", password)
        code, text = client.mail("a@shop.example")
    assert (code, b"5.7.1" in text, b"ask the office" in text) == (550, True, True)


@pytest.mark.parametrize("verb", ["suspend", "reinstate"])
@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["nobody", "--reason", "x"], 1),
        (["app"], 2),
        (["app", "--stream", "river", "--reason", "x"], 2),
        (["--reason", "x"], 2),
    ],
    ids=str,
)
def test_a_standing_that_cannot_be_changed_is_not(
    live: Command, verb: str, arguments: list[str], exit_code: int
) -> None:
    assert live("account", verb, *arguments).exit_code == exit_code
    assert live("account", "show", "app", "--json").row["standing"] == "good"


def test_a_name_for_pasting_is_quoted(live: Command) -> None:
    live("account", "add", "a;b", "--domain", "shop.example")
    assert live("account", "suspend", "a;b", "--reason", "x").lines[0].endswith("mta account reinstate 'a;b'")


@pytest.mark.parametrize("verb", ["suspend", "reinstate"])
def test_to_change_a_standing_a_server_has_to_run(mta: Command, verb: str) -> None:
    assert mta("account", verb, "app", "--reason", "x").exit_code == 69


def test_to_add_one_a_server_has_to_run(mta: Command) -> None:
    assert mta("account", "add", "new", "--domain", "example.com").exit_code == 69
