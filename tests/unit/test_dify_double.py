"""The simulated Dify answers every recorded exchange of the real one with the same status, shape and values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dify_over_http import ReplayOverHttp
from dify_recordings import FIRST, NEWER_DAEMON, SECOND, Replay, endpoint, not_imitated

from dify_double.credential_forms import PROVIDERS
from dify_double.packages import identifier

ADMIN_KEY = "adm-0123456789abcdef"
COMPATIBLE = next(iter(PROVIDERS))
# what the first set's stand-in for the plugin daemon got wrong, told by the second set (its README names both)
REQUIRED_BY_MISTAKE = ("max_tokens_to_sample", "stream_mode_delimiter")
OVERRULED = {
    "b08-create-new-name": "044-create-llm-without-two-fields",
    "b17-register-no-trailing-model": "046-create-llm-minimal",
    "b19-register-unknown-field": "044-create-llm-without-two-fields",
    "b21-register-no-v1": "044-create-llm-without-two-fields",
}
MOMENT = ("29-plugin-task-poll", "30-plugin-task-poll")  # `pending` or `running`: it depends on when one looks


def uploaded_again(replay: Replay) -> None:
    """The first stand-in kept the package of a plugin that was uninstalled; the daemon forgets it (360)."""
    replay.console.state["packages"].append(identifier(COMPATIBLE))


def password_of_second(replay: Replay) -> None:
    """An invitation without mail leaves no password: it was set in the database."""
    replay.console.state["members"][0]["password"] = "Str0ngPassw0rd!"


def id_of_nomode(replay: Replay) -> None:
    """No recorded answer tells the id of this credential: it was asked for on the side."""
    entry = replay.console.models.entry(COMPATIBLE, "qwen3-nomode", "llm")
    replay.known["01a22986-6f68-7d15-8d52-75dd3a199e34"] = entry["current"]


def installs(failure: str | None) -> Callable[[Replay], None]:
    def switch(replay: Replay) -> None:
        replay.console.state["install_fails"] = failure

    return switch


def corrected(name: str, answer: Any) -> Any:
    """An answer of the first set, right where its stand-in for the daemon was wrong."""
    if isinstance(answer, list):
        return [corrected(name, entry) for entry in answer]
    if not isinstance(answer, dict):
        return answer
    answer = {key: corrected(name, value) for key, value in answer.items()}
    if name in MOMENT and answer.get("status") == "running":
        answer["status"] = "pending"
    if answer.get("variable") in REQUIRED_BY_MISTAKE:
        answer["required"] = False
    if "variable" in answer and answer.get("options", ()) is None:
        answer["options"] = []  # 042
    if "icon_dark" in answer and "plugins" in answer:
        answer["icon_dark"] = ""  # 038
        answer["plugins"] = {key: value or None for key, value in answer["plugins"].items()}
    return answer


def replayed(
    replay: Replay, paths: list[Path], right: Callable[[str, Any], Any] = lambda _, answer: answer
) -> list[str]:
    wrong = []
    for path in paths:
        exchange = json.loads(path.read_text())
        exchange["response"]["body"] = right(path.stem, exchange["response"]["body"])
        wrong += [f"{path.stem}{line}" for line in replay.differences(path.stem, exchange)]
    return wrong


def counted(record_property: Callable[[str, object], None], paths: list[Path], wrong: list[str]) -> None:
    """Tell how many were replayed, and how many answered alike."""
    names = {path.stem for path in paths}
    missed = {name for name in names if any(line.startswith(name) for line in wrong)}
    record_property("pairs_replayed", len(names))
    record_property("pairs_matched", len(names - missed))


def test_every_exchange_of_the_first_set_is_answered_alike(record_property: Callable[[str, object], None]) -> None:
    paths = [path for path in FIRST if path.stem not in OVERRULED]
    waits = dict.fromkeys(("31-plugin-task-poll", "b05-models-after-reinstall", "c38-vllm-task"), 3.0)
    with endpoint() as (port, _):
        wrong = replayed(Replay(port, waits, {"b04-reinstall-after-uninstall": uploaded_again}), paths, corrected)
    counted(record_property, paths, wrong)
    assert len(paths) >= 150
    assert wrong == []


@pytest.mark.parametrize("way", [Replay, ReplayOverHttp])
def test_every_exchange_of_the_second_set_is_answered_alike(
    way: type[Replay], record_property: Callable[[str, object], None]
) -> None:
    waits = {path.stem: 3.0 for path in SECOND if "-task-2" in path.stem}
    waits["113-app-create-same-name"] = 1.0  # the clock showed the next second
    waits |= dict.fromkeys(("269-v1-indexing-status-0", "411-embedding-enable"), 3.0)  # the worker had done its part
    waits["418-v1-indexing-status-orphan-second-0"] = -0.05  # it had just begun
    waits |= {path.stem: 3.0 for path in SECOND if path.stem.endswith(("orphan-1", "second-1", "down-01"))}
    with endpoint('{"error": "invalid api key"}') as (port, switched):

        def down(off: bool) -> Callable[[Replay], None]:
            return lambda _: setattr(switched, "down", off)

        def newer_daemon(replay: Replay) -> None:
            """Upgrade by the rules of daemon 0.6.6, as it was recorded between 401 and 402."""
            replay.console.plugins.daemon = (0, 6, 6)
            replay.waits |= {path.stem: 3.0 for path in NEWER_DAEMON if "-task-2" in path.stem}
            wrong.extend(replayed(replay, NEWER_DAEMON))
            replay.console.plugins.daemon = (0, 6, 3)

        before = {
            "106-delete-credential-qwen3-nomode": id_of_nomode,
            "204-login-second": password_of_second,
            "370-plugin-installations-openai-again": installs("failed to launch plugin: uv sync: exit status 2"),
            "378-plugin-installations-before-uninstall": installs(None),
            "402-logout": newer_daemon,
            "417-v1-document-create-orphan-second": down(True),
            "427-app-delete-down": down(False),
            "434-v1-document-create-endpoint-down": down(True),
            "438-v1-dataset-delete-down": down(False),
        }
        wrong: list[str] = []
        wrong += replayed(way(port, waits, before, admin_key=ADMIN_KEY, balancing=True), SECOND)
    paths = [*SECOND, *NEWER_DAEMON]
    if way is Replay:  # a pair counts once
        counted(record_property, paths, wrong)
    assert len(paths) == 446
    assert wrong == []


def test_the_table_of_what_is_not_imitated_names_nothing_that_registration_reads() -> None:
    read = [
        ".data.0.model",
        ".data.0.status",
        ".available_credentials.0.credential_name",
        ".credentials.endpoint_url",
        ".data.0.model_credential_schema.credential_form_schemas.0.required",
        ".data.0.model_credential_schema.credential_form_schemas.0.options.0.value",
        ".task.status",
        ".plugins.0.version",
    ]
    assert [path for path in read if not_imitated(path)] == []
