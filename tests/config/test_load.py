"""Finding the file, reading it with mta.d, and what is only worth a warning."""

from datetime import timedelta
from pathlib import Path

import pytest

from mta.config.load import find_config, load
from mta.errors import ConfigError, Problem

HOST = 'hostname = "mail.example.com"\n'
QUIET = HOST + '[submission]\nlisten = []\nlisten_tls = []\n[[domain]]\nname = "example.org"\n'
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
SHOP = f'[[account]]\nname = "shop"\ndomains = ["example.org"]\npassword_hash = "{HASH}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a keyring, as `mta init` leaves it."""
    _write(tmp_path / "keyring.json", "{}")
    return tmp_path


def _write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def _complaints(folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder / "mta.toml", environ or {})
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def _warnings(folder: Path, text: str) -> list[str]:
    loaded = load(_write(folder / "mta.toml", text), {})
    return [str(problem).replace(f"{folder}/", "") for problem in loaded.warnings]


def test_a_small_file_is_enough(folder: Path) -> None:
    loaded = load(_write(folder / "mta.toml", QUIET + SHOP), {})
    assert loaded.warnings == ()
    assert loaded.settings.account[0].name == "shop"
    assert (loaded.path, loaded.files) == (folder / "mta.toml", (folder / "mta.toml",))


def test_the_folder_adds_entries_and_keys(folder: Path) -> None:
    _write(folder / "mta.toml", QUIET + SHOP)
    _write(folder / "mta.d/20.toml", SHOP.replace("shop", "late"))
    _write(folder / "mta.d/10.toml", '[queue]\nmax_age = "2d"\n' + SHOP.replace("shop", "early"))
    _write(folder / "mta.d/.#10.toml", "left by an editor")
    _write(folder / "mta.d/notes.txt", "not meant")
    loaded = load(folder / "mta.toml", {})
    assert [account.name for account in loaded.settings.account] == ["shop", "early", "late"]
    assert loaded.settings.queue.max_age.bulk == timedelta(days=2)
    assert [path.name for path in loaded.files] == ["mta.toml", "10.toml", "20.toml"]


def test_what_two_files_give_twice_is_named_with_both_places(folder: Path) -> None:
    _write(folder / "mta.toml", QUIET + SHOP)
    _write(folder / "mta.d/a.toml", "workers = 1\n[submission]\nlisten = []\n" + SHOP)
    _write(folder / "mta.d/b.toml", "# more\nworkers = 1\n[[domain]]\nname = 'Example.org'\n")
    assert _complaints(folder) == [
        "mta.d/a.toml:3: submission.listen: is given twice, first at mta.toml:3; remove one of them",
        'mta.d/a.toml:4: account "shop": is given twice, first at mta.toml:7; remove or rename one of them',
        "mta.d/b.toml:2: workers: is given twice, first at mta.d/a.toml:1; remove one of them",
        'mta.d/b.toml:3: domain "Example.org": is given twice, first at mta.toml:5; remove or rename one of them',
    ]


def test_a_mistake_in_the_folder_has_its_own_place_and_index(folder: Path) -> None:
    _write(folder / "mta.toml", QUIET + SHOP)
    _write(folder / "mta.d/a.toml", SHOP.replace("shop", "two") + "[[account]]\ndomains = []\nrate = 1\n")
    assert _complaints(folder) == [
        'mta.d/a.toml:5: account #3: name is missing; give the name it logs in with, e.g. name = "shop"',
        'mta.d/a.toml:7: account #3: rate: expected a rate such as "1000/h", got the number 1',
    ]


def test_every_file_that_is_not_toml_is_named(folder: Path) -> None:
    (folder / "mta.toml").write_bytes(b"hostname = 'h'\n# caf\xe9\n")
    _write(folder / "mta.d/a.toml", "a = " + "[" * 100_000)
    _write(folder / "mta.d/b.toml", "= 1")
    (folder / "mta.d/c.toml").mkdir()
    places = [complaint.partition(";")[0] for complaint in _complaints(folder)]
    assert places == [
        "mta.toml:2: is not UTF-8 text",
        "mta.d/a.toml: its lists and tables are nested too deep",
        "mta.d/b.toml:1: not valid TOML: invalid statement (column 1)",
        "mta.d/c.toml: cannot be read: it is not a file",
    ]


def test_paths_count_from_the_file_that_names_them(folder: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----"
    _write(folder / "main.pem", pem)
    _write(folder / "mta.d/part.pem", pem)
    _write(folder / "mta.d/token", "s3cret\n")
    dkim = 'dkim = [ { selector = "r1", key = "%s" } ]\n'
    _write(folder / "mta.toml", 'data_dir = "state"\n' + QUIET + dkim % "main.pem")
    hook = 'webhook = { url = "https://example.org/h", secret = { file = "token" } }\n'
    part = f'[[domain]]\nname = "example.net"\n{dkim % "part.pem"}{SHOP}{hook}'
    _write(folder / "mta.d/part.toml", part)
    settings = load(folder / "mta.toml", {}).settings
    keys = [key.key for domain in settings.domain for key in domain.dkim or ()]
    assert keys == [folder / "main.pem", folder / "mta.d/part.pem"]
    assert settings.store_path == folder / "state/queue.db"
    webhook = settings.account[0].webhook
    assert webhook is not None
    assert (webhook.secret.reveal(), webhook.secret.file) == ("s3cret", folder / "mta.d/token")


def test_secrets_come_from_the_environment_too(folder: Path) -> None:
    text = QUIET + SHOP.replace(f'"{HASH}"', '{ env = "HASH" }')
    text += '[[route]]\ndomain = "*"\nrelay = { env = "RELAY" }\n'
    path = _write(folder / "mta.toml", text, 0o644)
    settings = load(path, {"HASH": HASH, "RELAY": "smtp://u:pw@r.example"}).settings
    assert settings.account[0].password_hash is not None
    assert settings.account[0].password_hash.reveal() == HASH
    relay = settings.route[0].relay
    assert relay is not None
    assert relay.password is not None
    assert (relay.password.reveal(), relay.password.env) == ("pw", "RELAY")


def test_the_keyring_is_beside_the_file_unless_told(folder: Path) -> None:
    keyring = load(_write(folder / "mta.toml", QUIET + SHOP), {}).settings.secrets.keyring
    assert (keyring.file, keyring.reveal()) == (folder / "keyring.json", "{}")


def test_a_keyring_that_is_not_there_is_an_error_even_when_it_is_not_named(folder: Path) -> None:
    (folder / "keyring.json").unlink()
    _write(folder / "mta.toml", QUIET + SHOP)
    remedy = "run: mta init, or copy it back from your backup"
    assert _complaints(folder) == [f'mta.toml: secrets.keyring: file "keyring.json" does not exist; {remedy}']


def test_a_plain_secret_is_fine_in_a_file_for_few(folder: Path) -> None:
    text = QUIET + SHOP + '[[route]]\ndomain = "*"\nrelay = "smtp://u:pw@r.example"\n'
    assert _warnings(folder, text) == []


def test_a_file_that_cannot_be_read_is_named_with_the_reason(folder: Path) -> None:
    # A loop of links, since root may read a file of any mode.
    (folder / "mta.toml").symlink_to("mta.toml")
    reason = "cannot be read: too many levels of symbolic links"
    assert _complaints(folder) == [f"mta.toml: {reason}; make it readable for the user of mta"]


def test_places_are_named_as_the_file_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    _write(folder / "dkim/r1.pem", "-----BEGIN PRIVATE KEY-----", 0o644)
    _write(folder / "mta.toml", QUIET + 'dkim = [ { selector = "r1", key = "dkim/r1.pem" } ]\n')
    with pytest.raises(ConfigError) as caught:
        load(Path("mta.toml"), {})
    expected = 'mta.toml:7: domain "example.org": key "dkim/r1.pem" is readable by everyone; run: chmod 600 dkim/r1.pem'
    assert str(caught.value) == expected


IGNORED = "is not in force in this version; it is accepted and ignored; remove it or leave its default"
NO_ACCOUNT = "there is no [[account]], so nobody can submit mail until one is made; run: mta account add NAME"
NO_CERTIFICATE = (
    "no certificate is set; a self-signed certificate in data_dir is used, which clients have to be told to trust; "
    "set tls.cert and tls.key under [submission]"
)
NO_PASSWORD = "has no password_hash, so nobody can log in as it; run: mta account passwd shop"
EARLY_EXPIRY = (
    "bulk mail expires after 1m, before its first retry after 5m; raise max_age or shorten the first entry of retry, "
    "unless one attempt is meant to be all"
)
HOOK = 'webhook = { url = "https://e.example/", secret = { file = "open" } }\n'
WARNED: dict[str, tuple[str, list[str]]] = {
    "no account": (QUIET, [f"mta.toml: {NO_ACCOUNT}"]),
    "no certificate": (
        HOST + '[[domain]]\nname = "example.org"\n' + SHOP,
        [f"mta.toml: submission.tls: {NO_CERTIFICATE}"],
    ),
    "no password": (QUIET + SHOP.replace("password_hash", "# "), [f'mta.toml:7: account "shop": {NO_PASSWORD}']),
    "early expiry": (
        QUIET + SHOP + '[queue]\nmax_age = { bulk = "1m" }\n',
        [f"mta.toml:12: queue.max_age: {EARLY_EXPIRY}"],
    ),
    "not in force": (
        QUIET + SHOP + 'pool = "slow"\n[[shaping]]\nsite = "google"\n[[shaping]]\nsite = "yahoo"\n',
        [f'mta.toml:11: account "shop": pool: {IGNORED}', f"mta.toml:12: shaping: {IGNORED}"],
    ),
    "open secret": (
        QUIET + SHOP + HOOK,
        [
            'mta.toml:11: account "shop": webhook.secret: "open" is readable by everyone; run: chmod 600 open',
            f'mta.toml:11: account "shop": webhook: {IGNORED}',
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WARNED.values(), ids=WARNED)
def test_what_works_but_may_not_be_meant_is_a_warning(folder: Path, text: str, expected: list[str]) -> None:
    _write(folder / "open", "s", 0o644)
    assert _warnings(folder, text) == expected


def test_many_accounts_load_in_linear_time(folder: Path) -> None:
    text = QUIET + "".join(SHOP.replace("shop", f"shop{i}") for i in range(3000))
    assert len(load(_write(folder / "mta.toml", text), {}).settings.account) == 3000


@pytest.mark.parametrize(
    ("explicit", "environ", "present", "expected"),
    [
        ("x.toml", {"MTA_CONFIG": "/e.toml"}, ["mta.toml"], "x.toml"),
        (None, {"MTA_CONFIG": "/e.toml"}, ["mta.toml"], "/e.toml"),
        (None, {}, ["mta.toml", "etc.toml"], "mta.toml"),
        (None, {"MTA_CONFIG": ""}, ["etc.toml"], "etc.toml"),
    ],
)
def test_the_file_is_looked_for_in_order(
    tmp_path: Path, explicit: str | None, environ: dict[str, str], present: list[str], expected: str
) -> None:
    for name in present:
        (tmp_path / name).touch()
    assert find_config(explicit, environ, tmp_path, system=tmp_path / "etc.toml") == tmp_path / expected


def test_no_file_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run: mta init, or name a file with -c FILE"):
        find_config(None, {}, tmp_path, system=tmp_path / "none.toml")


def test_a_named_file_that_is_not_there_is_an_error(folder: Path) -> None:
    assert _complaints(folder) == ["mta.toml: does not exist; run: mta init, or name another file with -c FILE"]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("mta.toml", 3, "queue.retry", "is wrong", "mend it"), "mta.toml:3: queue.retry: is wrong; mend it"),
        (Problem("mta.toml", None, "", "is wrong"), "mta.toml: is wrong"),
        (Problem("", None, "", "nothing there"), "nothing there"),
    ],
)
def test_a_problem_reads_as_one_line(problem: Problem, text: str) -> None:
    assert str(problem) == text
