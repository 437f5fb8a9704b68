"""Installs as apt would do them, holds, and repositories, from its own lists and without network; one exec each.
Source: apt, dpkg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

INSTALL = re.compile(r"^Inst (\S+) (?:\[([^\]]+)\] )?\((\S+) ([^)]*)\)")


@dataclass(frozen=True)
class PackageChange:
    """One package of a simulated install; `old` is None where it is new."""

    name: str
    old: str | None
    new: str
    origin: str


@dataclass(frozen=True)
class AptSolution:
    """Answer of `apt-get -s`. `error` is its sentence where the set cannot be installed; `unknown` where it is not
    listed.
    """

    installs: tuple[PackageChange, ...] = ()
    removes: tuple[str, ...] = ()
    error: str | None = None
    unknown: bool = False


def parse_resolution(lines: list[str]) -> AptSolution:
    """`Inst` and `Remv` lines, or why not: apt's E: lines and the unmet dependencies above them."""
    matched = [match for line in lines if (match := INSTALL.match(line))]
    installs = tuple(PackageChange(match[1], match[2], match[3], match[4]) for match in matched)
    removes = tuple(line.split()[1] for line in lines if line.startswith("Remv "))
    errors = [line[3:] for line in lines if line.startswith("E: ")]
    if not errors:
        return AptSolution(installs, removes)
    unmet = [line.strip() for line in lines if re.search(r" : (Pre-)?(Depends|Conflicts|Breaks): ", line)]
    unknown = any(re.search(r"Unable to locate|was not found|has no installation candidate", line) for line in errors)
    return AptSolution(error="; ".join([*unmet[:4], *errors[:2]]), unknown=unknown and not unmet)


IGNORING = "--no-install-recommends --allow-downgrades --ignore-hold --allow-change-held-packages"


class Resolved(FactBase[AptSolution]):
    """The install of `packages` (`NAME` or `NAME=VERSION`) as apt would do it with the lists that it has.

    `preferences` are pins that count instead of those on the host: the ones that a plan is about to write. Holds are
    ours and passed over; `--allow-change-held-packages` alone lets only named packages go.
    """

    def command(self, packages: tuple[str, ...], preferences: str = "") -> StringCommand:
        names = [QuoteString(name) for name in packages]
        before, pins, after = StringCommand(), "", ""
        if preferences:
            before = StringCommand("t=$(mktemp) && printf %s", QuoteString(preferences), '>"$t";')
            pins = '-o Dir::Etc::PreferencesParts=/nonexistent -o Dir::Etc::Preferences="$t"'
            after = '; rm -f "$t"'
        shown = "2>&1 | grep -E '^(Inst|Remv|E:)| : (Pre-)?(Depends|Conflicts|Breaks): '"
        return StringCommand(
            before, "LC_ALL=C apt-get -s -q", pins, "install", IGNORING, *names, shown, after, "; echo end"
        )

    def process(self, output: list[str]) -> AptSolution:
        return parse_resolution(output)

    @staticmethod
    def default() -> AptSolution:
        return AptSolution()


@dataclass(frozen=True)
class DebPackage:
    """An installed package; `whole` is False where dpkg was interrupted in it."""

    version: str
    held: bool
    whole: bool


def parse_debs(lines: list[str]) -> dict[str, DebPackage]:
    """`ABBREV NAME VERSION` lines; the first letter of the abbreviation is h where it is held. Raises
    FactProcessError.
    """
    packages = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and fields[0][1] not in "nc":
            packages[fields[1]] = DebPackage(fields[2], fields[0][0] == "h", fields[0][1:] == "i")
    return packages


class Debs(FactBase[dict[str, DebPackage]]):
    """Packages whose names match `patterns` (dpkg's globs) and that are installed, wholly or half."""

    def command(self, patterns: tuple[str, ...]) -> StringCommand:
        names = [QuoteString(name) for name in patterns]
        asked = StringCommand(r"dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'", *names, "2>/dev/null")
        return StringCommand(asked, "; test $? -le 1 && echo end")

    def process(self, output: list[str]) -> dict[str, DebPackage]:
        return parse_debs(output)

    @staticmethod
    def default() -> dict[str, DebPackage]:
        return {}


def parse_age(lines: list[str]) -> bool:
    """Read `fresh` or `stale`. Raises FactProcessError."""
    if lines not in (["fresh"], ["stale"]):
        raise FactProcessError(f"apt lists: cannot read {lines}")
    return lines == ["fresh"]


class ListsFresh(FactBase[bool]):
    """True where apt's lists are newer than `files` (sources, keys and pins that they depend on), and of them."""

    def command(self, files: tuple[str, ...], url: str) -> StringCommand:
        names = [QuoteString(name) for name in files]
        prefix = QuoteString(
            re.sub(r"^\w+://", "", url).rstrip("/").replace("_", "%5f").replace("/", "_")
        )  # apt's escapes
        newest = "newest=$(ls -t /var/lib/apt/lists/*_*Packages* 2>/dev/null | head -1)"
        listed = StringCommand("ls /var/lib/apt/lists/ | grep -qF", prefix)
        per_file = StringCommand(
            "for f in", *names, '; do test -e "$f" && test "$f" -nt /var/lib/apt/lists/partial && s=stale; done'
        )
        return StringCommand(
            newest, '; s=fresh; test -n "$newest" || s=stale;', listed, "|| s=stale;", per_file, "; echo $s"
        )

    def process(self, output: list[str]) -> bool:
        return parse_age(output)

    @staticmethod
    def default() -> bool:
        return False


@dataclass(frozen=True)
class Archive:
    """Archive that a host gets its distribution from: address, and key if its source names one."""

    uri: str
    signed_by: str = ""


def parse_archive(lines: list[str], suite: str) -> Archive | None:
    """apt's sources, one-line and deb822, to the first that has `main` of the suite; None where none has."""
    stanza: dict[str, str] = {}
    for line in [*lines, ""]:
        fields = line.split()
        if fields[:1] == ["deb"]:
            options = re.findall(r"\[(.*?)\]", line)
            uri, suites, *components = re.sub(r"\[.*?\]", "", line).split()[1:] or ["", ""]
            if suites == suite and "main" in components:
                key = re.search(r"signed-by=(\S+)", options[0]) if options else None
                return Archive(uri.rstrip("/"), key[1] if key else "")
        elif not fields:
            if suite in stanza.get("suites", "").split() and "main" in stanza.get("components", "").split():
                return Archive(stanza["uris"].split()[0].rstrip("/"), stanza.get("signed-by", ""))
            stanza = {}
        elif ":" in fields[0] and not line.startswith("#"):
            key_name, _, value = line.partition(":")
            stanza[key_name.strip().lower()] = value.strip()
    return None


class DistributionArchive(FactBase["Archive | None"]):
    """The archive that `suite` comes from, by apt's sources; those of steelyard are passed over."""

    def command(self, suite: str) -> StringCommand:
        self.suite = suite
        files = "/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources"
        return StringCommand(
            f"for f in {files}; do case $f in */steelyard-*) continue;; esac; test -f $f && cat $f && "
            f"echo; done; echo end"
        )

    def process(self, output: list[str]) -> Archive | None:
        return parse_archive(output, self.suite)

    @staticmethod
    def default() -> Archive | None:
        return None
