"""`.env` merged key by key on the host, and the archive of a backup: written, read again, refused when it is not
whole.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from steelyard_host.dify import archive, backup, database, dotenv, env_file, tenant_keys
from steelyard_host.dify.secret_keys import WELL_KNOWN, unsafe_keys
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.wire.codec import to_json

OLD = (
    "# "
    "head\nEDITION=SELF_HOSTED\nLOG_LEVEL=INFO\nDB_PASSWORD=difyai123456\nDEBUG=false\nDIFY_AGENT_SHELLCTL_AUTH_TOKEN=\n"
)
NEW = (
    "# "
    "head\nDEPLOYMENT_EDITION=COMMUNITY\nLOG_LEVEL=INFO\nDB_PASSWORD=difyai123456\nDEBUG=false\nMORE=1\nDIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN=\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(env_file, "OURS", tmp_path / "ours")
    (tmp_path / "ours").write_text(json.dumps({"DB_PASSWORD": "secret1", "EXTRA": "two words"}))
    made = tmp_path / "dify"
    made.mkdir()
    (made / env_file.TEMPLATE).write_text(OLD)
    return made


def live(folder: Path) -> dict[str, str]:
    return env_file.live_texts(folder)


def test_declared_keys_win_and_a_second_merge_changes_nothing(folder: Path) -> None:
    assert "DB_PASSWORD" in env_file.write(folder).differs
    assert live(folder)["DB_PASSWORD"] == "secret1"
    assert live(folder)["EXTRA"] == "two words"
    assert to_json(env_file.merged(folder)[1]) == {
        "differs": [],
        "unknown": [],
        "renamed": {},
        "unsafe": ["DIFY_AGENT_SHELLCTL_AUTH_TOKEN"],
    }
    assert (folder / env_file.LIVE).stat().st_mode & 0o777 == 0o600
    assert (folder / env_file.LIVE).read_text().startswith("# head\n")


def test_what_a_human_set_moves_to_the_next_release_and_what_it_left_alone_follows_the_template(folder: Path) -> None:
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(
        path.read_text().replace("LOG_LEVEL=INFO", "LOG_LEVEL=WARNING").replace("TOKEN=", "TOKEN=mine") + "OWN=1\n"
    )
    (folder / env_file.TEMPLATE).write_text(NEW)
    told = to_json(env_file.write(folder))
    assert told["unknown"] == ["OWN"]
    assert told["renamed"] == {"EDITION": "", "DIFY_AGENT_SHELLCTL_AUTH_TOKEN": "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN"}
    assert live(folder) == {
        "DEPLOYMENT_EDITION": "COMMUNITY",
        "LOG_LEVEL": "WARNING",
        "DB_PASSWORD": "secret1",
        "DEBUG": "false",
        "MORE": "1",
        "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN": "mine",
        "EXTRA": "two words",
        "OWN": "1",
    }
    assert env_file.write(folder).differs == ()


def test_well_known_values_are_named_wherever_they_come_from() -> None:
    template = dotenv.texts(OLD)
    assert unsafe_keys({}, template) == []
    assert unsafe_keys({**template, "DEBUG": "True"}, template) == [
        "DB_PASSWORD",
        "DEBUG",
        "DIFY_AGENT_SHELLCTL_AUTH_TOKEN",
    ]
    old = sorted(WELL_KNOWN)[-1]
    assert unsafe_keys(
        {**template, "DB_PASSWORD": "x", "DIFY_AGENT_SHELLCTL_AUTH_TOKEN": "y", "SECRET_KEY": old}, template
    ) == ["SECRET_KEY"]


def test_a_key_of_an_optional_file_or_of_the_compose_file_is_known_and_kept(folder: Path) -> None:
    (folder / "envs/core-services").mkdir(parents=True)
    (folder / "envs/core-services/shared.env.example").write_text("SMTP_SERVER=\n# NOTION_INTERNAL_SECRET=you\n")
    (folder / "docker-compose.yaml").write_text("x: ${PLUGIN_S3_ENDPOINT:-}\n")
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(
        path.read_text() + "SMTP_SERVER=mail\nNOTION_INTERNAL_SECRET=a\nPLUGIN_S3_ENDPOINT=http://s3\nOWN=1\n"
    )
    assert env_file.write(folder).unknown == ("OWN",)
    assert live(folder)["SMTP_SERVER"] == "mail"
    assert live(folder)["PLUGIN_S3_ENDPOINT"] == "http://s3"


@pytest.mark.parametrize(("old", "new"), [pair for pair in env_file.RENAMED.items() if pair[1]])
def test_what_a_human_gave_a_renamed_key_is_given_to_the_new_one(folder: Path, old: str, new: str) -> None:
    (folder / env_file.TEMPLATE).write_text(f"{old}=official\n")
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(path.read_text().replace(f"{old}=official", f"{old}=mine"))
    (folder / env_file.TEMPLATE).write_text(f"{new}=official2\n")
    changes = env_file.write(folder)
    assert (changes.unknown, changes.renamed, live(folder)[new]) == ((), {old: new}, "mine")


KEY = "-----BEGIN KEY-----\nabc\n-----END KEY-----"


def test_what_a_human_wrote_in_quotes_over_several_lines_or_with_export_survives_a_merge(folder: Path) -> None:
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(
        path.read_text().replace("LOG_LEVEL=INFO", "export LOG_LEVEL='WARN' # for now")
        + f"PRIVATE_KEY=\"{KEY}\"\nREFERS=${{LOG_LEVEL}}-x\nBARE\nODD='it\\'s $5'\n"
    )
    before = live(folder)
    changes = env_file.write(folder)
    assert live(folder) == before
    assert before["PRIVATE_KEY"] == KEY
    assert before["REFERS"] == "WARN-x"
    assert before["ODD"] == "it's $5"
    assert "\nBARE\n" in path.read_text()
    assert changes.unknown == ("BARE", "ODD", "PRIVATE_KEY", "REFERS")
    assert env_file.write(folder).differs == ()


def test_what_is_declared_no_more_is_the_template_s_again_and_what_a_human_made_of_it_stays(folder: Path) -> None:
    ours = {"DB_PASSWORD": "s", "LOG_LEVEL": "DEBUG", "EXTRA": "1", "EDITION": "OTHER", "MORE": "mine too"}
    env_file.OURS.write_text(json.dumps(ours))
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(path.read_text().replace('MORE="mine too"', "MORE=human"))
    env_file.OURS.write_text(json.dumps({"DB_PASSWORD": "s"}))
    assert env_file.write(folder).differs == ("EDITION", "EXTRA", "LOG_LEVEL")
    assert (live(folder)["LOG_LEVEL"], live(folder)["EDITION"], live(folder)["MORE"]) == (
        "INFO",
        "SELF_HOSTED",
        "human",
    )
    assert "EXTRA" not in live(folder)
    assert env_file.write(folder).differs == ()


def test_another_way_to_write_the_same_text_is_no_difference(folder: Path) -> None:
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text(path.read_text().replace('EXTRA="two words"', "EXTRA='two words'  # said so"))
    assert env_file.merged(folder)[1].differs == ()


@pytest.mark.parametrize("broken", ["A='open\n", "just words\n", "A=${B\n"])
def test_a_file_that_compose_would_not_read_is_told_by_its_line_without_a_value(folder: Path, broken: str) -> None:
    env_file.write(folder)
    path = folder / env_file.LIVE
    path.write_text("TOKEN=hush\n" + broken)
    with pytest.raises(DifyError, match=r"/\.env cannot be read as Compose reads it: .*line 2") as refused:
        env_file.merged(folder)
    assert "hush" not in str(refused.value)
    assert path.read_text() == "TOKEN=hush\n" + broken


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A folder as one lies on a host, whose databases are simulated."""
    folder = tmp_path / "dify"
    for name in (
        "volumes/app/storage/privkeys/t/private.pem",
        "volumes/db/data/base",
        "volumes/redis/data/dump",
        ".env",
        "nginx/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.setattr(tenant_keys, "lost", lambda _: [])
    monkeypatch.setattr(database, "databases", lambda _: ["dify"])
    monkeypatch.setattr(database, "query", lambda *_: ["1000"])
    monkeypatch.setattr(database, "dump", lambda _, name, target: target.write_bytes(name.encode() * 1000))
    config = {
        "folder": str(folder),
        "project": "dify",
        "port": 80,
        "databases": ["dify"],
        "backups": str(tmp_path / "backups"),
    }
    return Stack(config)


def test_an_archive_has_everything_but_what_is_dumped_and_what_is_a_cache(stack: Stack) -> None:
    made = Path(backup.make(stack, "test").archive)
    names = set(archive.verify(made).files)
    assert {"db/dify.dump", "dify/.env", "dify/nginx/x", "dify/volumes/app/storage/privkeys/t/private.pem"} <= names
    assert not any("volumes/db" in name or "volumes/redis" in name for name in names)
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in made.parent.iterdir()] == [made.name]


@pytest.mark.parametrize("size", [10, 300, -30])
def test_an_archive_that_was_cut_anywhere_is_refused(stack: Stack, size: int) -> None:
    made = Path(backup.make(stack, "test").archive)
    made.write_bytes(made.read_bytes()[:size])
    with pytest.raises(DifyError, match="half written"):
        archive.verify(made)


def test_an_archive_with_a_changed_file_names_it(stack: Stack, tmp_path: Path) -> None:
    made, other = Path(backup.make(stack, "test").archive), tmp_path / "other.tar.gz"
    with tarfile.open(made) as source, tarfile.open(other, "w:gz") as target:
        for entry in source:
            file = source.extractfile(entry) if entry.isreg() else None
            if entry.name == "dify/.env":
                (tmp_path / "x").write_text("XenvX")
                target.add(tmp_path / "x", "dify/.env")
            else:
                target.addfile(entry, file)
    with pytest.raises(DifyError, match=r"damaged: dify/\.env is not what was written"):
        archive.verify(other)


def test_no_archive_is_written_where_there_is_no_room_for_the_worst_case(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "query", lambda *_: [str(2**60)])
    with pytest.raises(DifyError, match="the ones before are untouched"):
        backup.make(stack, "test")
    assert list(Path(stack.config["backups"]).iterdir()) == []


def test_a_dump_that_fails_leaves_no_half_archive(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "dump", full)
    with pytest.raises(DifyError, match="No space left on device"):
        backup.make(stack, "test")
    assert list(Path(stack.config["backups"]).iterdir()) == []


def test_the_oldest_go_and_the_newest_that_was_proved_stays(tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"dify-1.16.1-2026010{day}-030000.tar.gz").touch()
    (tmp_path / "dify-1.16.1-20260101-030000.tar.gz.proved").touch()
    assert backup.retain(tmp_path, 2) == [f"dify-1.16.1-2026010{day}-030000.tar.gz" for day in (2, 3)]
    assert len(backup.archives(tmp_path)) == 3
