"""Commands by which a front goes on accepting a key and lets it end, run by a real shell on files of this machine."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

from pyinfra.api.command import StringCommand

from steelyard.modules.facts.proxy_keys import AcceptedBefore, ClientKeys, KeysOfBefore, parse_client_keys
from steelyard.modules.facts.proxy_keys import parse_keys_of_before as parse_before
from steelyard.modules.operations.proxy_keys import end_command, keep_commands
from steelyard.serving.key_ends import NEVER
from steelyard.serving.service_keys import accepted_lines, cut, service_key

KEY = 'sk-"with letters"\\that a shell reads $HOME'


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run(command: StringCommand, reload: str = "true") -> subprocess.CompletedProcess[str]:
    """As on a host, but that nobody is made the owner, and `reload` stands for systemd's."""
    text = command.get_raw_value().replace("chown root:front", "test -f").replace("systemctl reload", reload)
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True)


def maps(folder: Path) -> tuple[str, str, str]:
    (folder / "older").mkdir()
    return str(folder / "declared"), str(folder / "before"), str(folder / "older")


def look(declared: str, before: str, older: str) -> KeysOfBefore:
    command = AcceptedBefore().command(declared=declared, before=before, older=older)
    return parse_before(
        subprocess.run(["sh", "-c", command.get_raw_value()], capture_output=True, text=True).stdout.splitlines()
    )


def keep(declared: str, before: str, older: str, wanted: str) -> None:
    keys = cut(accepted_lines(wanted, ("chat", "embed")))
    for command in keep_commands(declared, before, older, keys, "front", look(declared, before, older)):
        done = run(command)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_keys_of_an_older_release_are_accepted_by_their_hashes_each_once(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    for service in ("chat", "embed"):
        Path(older, service).write_text(KEY + "\n")
    keep(declared, before, older, "new")
    assert Path(before).read_text() == f"{sha256(KEY)} {NEVER}\n"


def test_two_changes_in_a_row_keep_both_keys_and_forget_what_has_ended(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    keep(declared, before, older, "first")
    assert Path(before).read_text() == ""
    for key in ("first", "second"):
        Path(declared).write_text(f"{sha256(key)} {NEVER}\n")
        keep(declared, before, older, "another")
        with Path(before).open("a") as file:
            file.write(f"{sha256('ended')} 100\n")
    keep(declared, before, older, "another")
    live = [line.split()[0] for line in Path(before).read_text().splitlines() if line.endswith(str(NEVER))]
    assert live == [sha256("second"), sha256("first")]
    assert sha256("ended") not in Path(before).read_text()
    assert look(declared, before, older).unended == 2


def test_same_key_asks_for_nothing(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    Path(declared).write_text(accepted_lines("same", ("chat", "embed")))
    Path(before).write_text("")
    keep(declared, before, older, "same")
    assert Path(before).read_text() == ""
    assert look(declared, before, older).declared == cut(accepted_lines("same", ("chat", "embed")))


def test_a_service_more_or_less_is_no_other_key(tmp_path: Path) -> None:
    """What is kept of before would be told by drift, and asked of gateways, although nobody shows anything else."""
    declared, before, older = maps(tmp_path)
    Path(before).write_text("")
    for services in (("chat",), ("chat", "embed", "gone")):
        Path(declared).write_text(accepted_lines("same", services))
        keep(declared, before, older, "same")
        assert Path(before).read_text() == ""


def test_keys_of_services_are_accepted_beside_those_of_the_next_one(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    Path(before).write_text("")
    Path(declared).write_text(accepted_lines("first", ("chat", "embed")))
    keep(declared, before, older, "second")
    assert Path(before).read_text() == accepted_lines("first", ("chat", "embed"))
    assert look(declared, before, older).unended == 2


def test_the_key_for_all_services_of_a_release_before_is_accepted_beside_their_own(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    Path(before).write_text("")
    Path(declared).write_text(f"{sha256('site')} {NEVER}\n")
    keep(declared, before, older, "site")
    assert Path(before).read_text() == f"{sha256('site')} {NEVER}\n"


def test_a_key_is_of_one_service_and_says_nothing_of_another_or_of_the_site() -> None:
    keys = {service_key(site, name) for site in ("sk-a", "sk-b") for name in ("chat", "embed", "chat-embed")}
    assert len(keys) == 6
    assert service_key("sk-a", "chat") == "sk-aZOjL-uSTaEtDTERC0M_OQCPmOAz-ifzM4a4nk1EN-Y", "gateways and fronts agree"
    assert (service_key("", "chat"), cut(f"{'a' * 64} 1\nx:{'b' * 64} 1\n")) == ("", ("a" * 12, "x:" + "b" * 12))


def test_keys_of_before_end_after_the_grace_and_stay_where_the_front_does_not_reload(tmp_path: Path) -> None:
    declared, before, older = maps(tmp_path)
    text = f"{sha256('one')} {NEVER}\n{sha256('two')} 1700000000\n"
    Path(before).write_text(text)
    assert run(end_command(before, "x.service", 130), reload="false").returncode == 1
    assert Path(before).read_text() == text
    now = int(time.time())
    assert run(end_command(before, "x.service", 130)).returncode == 0
    [one, two] = Path(before).read_text().splitlines()
    assert now + 130 <= int(one.split()[1]) <= int(time.time()) + 130
    assert two == f"{sha256('two')} 1700000000"
    assert look(declared, before, older).unended == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "older"]


def test_clients_are_read_with_their_ends_and_without_whole_hashes(tmp_path: Path) -> None:
    keys, ends = tmp_path / "keys", tmp_path / "ends"
    keys.write_text(f"{'a' * 64} demo\n{'b' * 64} team a\n")
    for content in (None, "", f"{'a' * 64} 1790000000\n"):
        if content is not None:
            ends.write_text(content)
        command = ClientKeys().command(keys=str(keys), ends=str(ends)).get_raw_value()
        output = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
        assert parse_client_keys(output.splitlines()) == {
            "demo": {"a" * 12: 1790000000 if content else NEVER},
            "team a": {"b" * 12: NEVER},
        }
        assert "a" * 13 not in output
