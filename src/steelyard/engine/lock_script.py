"""The script that a keeper of locks runs, and what it says: take, renew, release, break, show.

A lock is a folder `/var/lib/steelyard/lock` or `lock.ALIAS` with one file, `record`: who holds it, in which boot of the
keeper, and at which second of that boot's uptime it ends. Folder and record come into place by a rename, so each is
there whole or not at all, and no folder comes over another. Every step that could fail has an exit code of its own.
What cannot be read is somebody's lock. No wall clock decides: it is shown to people, and read in locks of before.

After a reboot of the keeper a record of an earlier boot holds for its whole time from the boot on, counted from the
start of process 1: a container's uptime is that of its machine.

Before records, a lock was such a folder with `owner` and `until`, a second of the wall clock. Both are written still,
for controllers that know nothing else: they read a lock that ends an hour ahead, whatever step the clock makes, of an
owner on no machine of theirs, so they take it for nobody's that is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from steelyard.engine.run_owner import RunOwner

HELD, LOST = 75, 76  # somebody else's; not this run's any more
SCRIPT = """
d=/var/lib/steelyard; proc=/proc; verb=$1 run=$2 ttl=$3 name=$4
new=$d/.lock-new gone=$d/.lock-gone mine=$d/$name
mkdir -p "$d" || exit 81
command exec 9>>"$d/.lock-mutex" || exit 82
flock -w 20 9 || exit 83
read -r boot <"$proc/sys/kernel/random/boot_id" || exit 84
read -r up _ <"$proc/uptime" || exit 84
read -r first <"$proc/1/stat" || exit 84
up=${up%%.*}
aged() { age=$((up - ${20} / 100)); test "$age" -ge 0 || age=$up; }
aged ${first##*) } && test -n "$boot" || exit 84
wall=$(date +%s) || exit 84

number() { case "$1" in '' | *[!0-9]*) return 1 ;; esac; }
parts() { test $# = 5 && test "$1" = steelyard-lock && by=$2 at=$3 end=$4 long=$5; }
recorded() { IFS= read -r head && IFS= read -r owner && IFS= read -r last && test "$last" = end; }
look() {
  state=free form=record by= owner= left=0
  test -e "$1" || test -L "$1" || return 0
  state=torn
  if test -e "$1/record"; then
    recorded 2>/dev/null <"$1/record" && parts $head && number "$end" && number "$long" || { by= owner=; return 0; }
    if test "$at" = "$boot"; then left=$((end - up)); else left=$((long - age)); fi
  else
    form=before end=
    read -r end 2>/dev/null <"$1/until"
    IFS= read -r owner 2>/dev/null <"$1/owner"
    number "$end" || return 0
    left=$((end - wall))
  fi
  state=held; test "$left" -gt 0 || state=ended
}
say() { printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "${1##*/}" "$state" "$form" "$left" "$wall" "$owner"; }
record() {
  printf 'steelyard-lock %s %s %s %s\\n%s\\nend\\n' "$run" "$boot" $((up + ttl + 1)) "$ttl" "$1" | cat >"$2" &&
    sync "$2"
}
shown_end() { echo $((wall + 3600)) | cat >"$1"; }
made() {
  mkdir -m 755 "$new" && record "$said" "$new/record" || return 85
  printf '%s\\n' "$before" | cat >"$new/owner" && shown_end "$new/until" || return 86
  sync "$new/owner" "$new/until" "$new" || return 86
}
extended() {
  record "$owner" "$new" && mv -T "$new" "$mine/record" && sync "$mine" || return 85
  shown_end "$new" && sync "$new" && mv -T "$new" "$mine/until" || return 86
}
away() { mv -T "$1" "$gone" && sync "$d" && rm -rf "$gone"; }

rm -rf "$new" "$gone" || exit 87
case "$name" in lock) rivals="$d/lock $d/lock.*"; broken=$rivals ;; *) rivals="$d/lock $mine"; broken=$mine ;; esac
case "$verb" in
  take) IFS= read -r said && IFS= read -r before || exit 80
        rival=
        for r in $rivals; do
          look "$r"
          case "$state" in held | torn) test "$by" = "$run" || { say "$r"; rival=$r; } ;; esac
        done
        test -z "$rival" || exit 75
        look "$mine"
        if test "$by" = "$run"; then extended || exit $?; exit 0; fi
        made || exit $?
        test "$state" = free || away "$mine" || exit 87
        mv -T "$new" "$mine" && sync "$d" || exit 88 ;;
  renew) look "$mine"
         if test "$by" != "$run" || test "$state" != held; then
           test "$state" != torn || exit 89
           exit 76
         fi
         extended || exit $? ;;
  release) for r in $rivals; do look "$r"; test "$by" != "$run" || away "$r" || exit 87; done ;;
  break) for r in $broken; do look "$r"; test "$state" = free || { say "$r"; away "$r" || exit 87; }; done ;;
  show) for r in $rivals; do look "$r"; test "$state" = free || say "$r"; done ;;
  *) exit 80 ;;
esac
exit 0
"""
# what ended the script: the step that could not be done
STEPS = {
    80: "the request did not arrive whole",
    81: "its folder of locks cannot be made",
    82: "its file of locks cannot be opened",
    83: "another request has been at its locks for 20 s",
    84: "its boot or its uptime cannot be read",
    85: "the lock's record cannot be written",
    86: "the lock's part for older controllers cannot be written",
    87: "an ended lock cannot be taken away",
    88: "the lock cannot be put in place",
    89: "the lock's record cannot be read",
}


class LockState(StrEnum):
    """A lock as a keeper sees it. `TORN`: it cannot be read, so nobody knows, and it is held."""

    HELD = "held"
    ENDED = "ended"
    TORN = "torn"


@dataclass(frozen=True)
class KeptLock:
    """A lock as one keeper has it; `owner` is None where it cannot be read. `is_older`: of a controller that writes no
    record. `left_s` is what is left of it by the keeper's clock since boot, `at` is its wall clock.
    """

    keeper: str
    name: str
    state: LockState
    is_older: bool
    left_s: int
    at: int
    owner: RunOwner | None

    @property
    def is_in_the_way(self) -> bool:
        """Whether it keeps others out: it is held, or nobody can tell."""
        return self.state is not LockState.ENDED


def request_of(owner: RunOwner) -> str:
    """Return what `take` reads: the owner as the record has it, and as controllers of before are to see it."""
    # a host name with a final dot is the same host, and equals none that a controller of before has of itself
    shown = replace(owner, host=f"{owner.host}.")
    return f"{json.dumps(owner.as_json())}\n{json.dumps(shown.as_json())}\n"


def kept_locks(keeper: str, lines: Iterable[str]) -> list[KeptLock]:
    """Return the locks that a keeper told of. A line that is none of its own is a lock that nobody can read."""
    return [_kept(keeper, line) for line in lines if line.strip()]


def _kept(keeper: str, line: str) -> KeptLock:
    try:
        name, state, form, left, wall, stored = line.split("\t", 5)
        read, is_older, left_s, at = LockState(state), form == "before", int(left), int(wall)
    except ValueError:
        return KeptLock(keeper, "?", LockState.TORN, False, 0, 0, None)
    try:
        owner = RunOwner.from_json(json.loads(stored))
    except (ValueError, KeyError, TypeError, RecursionError):
        owner = None
    return KeptLock(keeper, name, read, is_older, left_s, at, owner)
