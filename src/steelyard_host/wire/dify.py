"""Dify on its host as the helper tells of it, and as it is written down there. Sizes are bytes."""

from __future__ import annotations

from typing import NamedTuple

from steelyard_host.wire.codec import State, from_json


class EnvChanges(NamedTuple):
    """The answer of `dify-env`: names of keys of `.env`, never values.

    `differs`: keys that a merge changes; `unknown`: keys that the release does not have; `renamed`: old key to new
    one, empty where the value does not move; `unsafe`: keys that stand as every copy of the release has them.
    """

    differs: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    renamed: dict[str, str] = {}
    unsafe: tuple[str, ...] = ()


class StackState(NamedTuple):
    """The answer of `dify-state`.

    `changed`: files of the release that are other than they were put there; `unready`: a service to why it is not as
    it should be; `open`: addresses other than the proxy's that other hosts reach; `keyless`: workspaces without their
    private key; `error`: why the containers could not be asked, else empty; `compose`: Compose's release, empty where
    there is none.
    """

    version: str | None
    changed: tuple[str, ...]
    env: EnvChanges
    unready: dict[str, str]
    open: tuple[str, ...]
    keyless: tuple[str, ...]
    cores: int
    memory: int
    error: str
    compose: str = ""


class Unready(NamedTuple):
    """The answer of `dify-up`: services that are not as they should be; none, or it would not have ended well."""

    unready: dict[str, str]


class InstalledRelease(NamedTuple):
    """The answer of `dify-record`: how many files of a release are written down."""

    version: str
    files: int


class PlacedFiles(NamedTuple):
    """The answer of `dify-place`: how many members of an archive were laid into the folder."""

    members: int


class ReleaseRecord(NamedTuple):
    """Files of a release that were put into the folder, with their hashes; `version`: None where none was."""

    version: str | None = None
    files: dict[str, str | None] = {}


class PassedOver(NamedTuple):
    """The name of something below Dify's folder that is not in an archive, or not as it was, and why."""

    name: str
    why: str


class Backup(NamedTuple):
    """The answer of `dify-backup`: an archive that was read again byte by byte.

    `passed_over`: the first of what containers have there that is no file, folder or link, or changed while it was
    read; `passed_over_count`: how many there were.
    """

    archive: str
    bytes: int
    version: str | None
    files: int
    passed_over: tuple[PassedOver, ...] = ()
    passed_over_count: int = 0


class ScheduledBackup(NamedTuple):
    """The answer of `dify-scheduled`. `proved`: tables by database, if it was restored beside; `gone`: old archives."""

    archive: str
    bytes: int
    version: str | None
    files: int
    gone: tuple[str, ...]
    proved: dict[str, int] | None = None
    passed_over: tuple[PassedOver, ...] = ()
    passed_over_count: int = 0

    def as_json(self) -> dict[str, object]:
        """The keys of the answer; no `proved` where nothing was."""
        document: dict[str, object] = {
            **self._asdict(),
            "gone": list(self.gone),
            "passed_over": [entry._asdict() for entry in self.passed_over],
        }
        if self.proved is None:
            del document["proved"]
        return document


class ListedBackup(NamedTuple):
    """One archive of `dify-backups`. `at`: seconds since 1970; `proved`: it was restored beside once."""

    archive: str
    bytes: int
    at: float
    proved: bool


class BackupList(NamedTuple):
    """The answer of `dify-backups`, oldest first."""

    backups: tuple[ListedBackup, ...] = ()


class ArchiveList(NamedTuple):
    """The answer of `dify-verify`: the last member of an archive, which lists every other with its sha256.

    `made`: the time as in the archive's name; `stopped`: whether Dify stood still meanwhile; `config`: what was
    declared of the stack; `files`: what a link names in place of a hash; `passed_over`: as in Backup.
    """

    version: str | None
    made: str
    why: str
    host: str
    databases: tuple[str, ...]
    config: dict[str, object]
    files: dict[str, str]
    stopped: bool = False
    passed_over: tuple[PassedOver, ...] = ()
    passed_over_count: int = 0


class BackupProof(NamedTuple):
    """The answer of `dify-prove`: tables by database of an archive that was restored beside."""

    archive: str
    version: str | None
    tables: dict[str, int]


class Restored(NamedTuple):
    """The answer of `dify-restore`."""

    version: str | None
    archive: str
    seconds: float


class Pulled(NamedTuple):
    """The answer of `dify-pull`."""

    version: str | None
    seconds: float


class Progress(NamedTuple):
    """The bytes of one step that are done."""

    what: str
    done: int
    total: int


class JobEnd(NamedTuple):
    """The end of a job: its command's answer, or the reason why there is none."""

    number: str
    answer: object = None
    why: str | None = None

    def as_json(self) -> dict[str, object]:
        """The keys on the disk: either `answer` or `why`."""
        outcome = {"answer": self.answer} if self.why is None else {"why": self.why}
        return {"number": self.number, **outcome}


class JobState(NamedTuple):
    """The answer of `dify-doing`. `active`: whether the unit still works."""

    active: bool
    doing: Progress | None
    ended: JobEnd | None


class UpgradeState(State):
    """The step at which an upgrade stands; RESTORED and BROKEN are ends too."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    RESTORED = "restored"
    BROKEN = "broken"


class UpgradeStep(NamedTuple):
    """A step that was begun, `at` seconds after the first."""

    step: str
    at: float


class Upgrade(NamedTuple):
    """The last upgrade of a host, as `dify-switch` and `dify-progress` tell of it.

    `begun`: seconds since 1970; `archive`: the backup that was made after the stop; `outage`: seconds without an
    answer; `why`: what went wrong; `doing`: bytes of the step it is at now.
    """

    state: UpgradeState = UpgradeState.NONE
    steps: tuple[UpgradeStep, ...] = ()
    from_version: str | None = None
    to: str | None = None
    begun: float | None = None
    archive: str | None = None
    outage: float | None = None
    why: str | None = None
    doing: Progress | None = None

    def as_json(self) -> dict[str, object]:
        """The keys of the answer and on the disk, `from` among them."""
        document: dict[str, object] = {
            "state": self.state.value,
            "steps": [step._asdict() for step in self.steps],
        }
        if self.begun is None:
            return document
        document.update({"from": self.from_version, "to": self.to, "begun": self.begun, "archive": self.archive})
        document.update({key: value for key in ("outage", "why") if (value := getattr(self, key)) is not None})
        if self.doing is not None:
            document["doing"] = self.doing._asdict()
        return document

    @classmethod
    def of_json(cls, document: dict[str, object]) -> Upgrade:
        """The upgrade that a document tells of. Raises WireError."""
        return from_json(cls, {**document, "from_version": document.get("from")})


class VectorImage(NamedTuple):
    """An image of Weaviate by its release."""

    version: str
    image: str


class VectorImages(NamedTuple):
    """The file beside a staged release: images for the way of Weaviate's volume."""

    images: tuple[VectorImage, ...] = ()


class Rehearsed(NamedTuple):
    """The record of the last rehearsal that ended well. `heads`: the last migrations of the release `to`."""

    from_version: str | None
    to: str | None
    heads: tuple[str, ...]


class Rehearsal(NamedTuple):
    """The answer of `dify-rehearse`: the archive whose databases and vectors the staged release brought over.

    `checked` and `unchecked`: what was held against the copy before, in words, and what was not, and why.
    """

    archive: str
    from_version: str | None
    to: str | None
    seconds: float
    checked: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The keys of the answer, `from` among them."""
        document = self._asdict()
        checks = {"checked": list(self.checked), "unchecked": list(self.unchecked)}
        return {"from": document.pop("from_version"), **document, **checks}

    @classmethod
    def of_json(cls, document: dict[str, object]) -> Rehearsal:
        """The rehearsal that a document tells of. Raises WireError."""
        return from_json(cls, {**document, "from_version": document.get("from")})
