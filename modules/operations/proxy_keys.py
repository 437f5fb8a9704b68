"""Keys that our proxies accept and show, changed so that no request is refused: first everybody accepts the new one,
then it is shown, then the one before ends.

Keys stay on the hosts they are on: what was accepted before is read from a host's own files, there, as a hash.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.api.change import Change, Effect, FileWrite, Refusal
from steelyard.api.fact_cache import invalidate_facts
from steelyard.api.run_slots import run_slot
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.path import Path
from steelyard.modules.facts.proxy_keys import AcceptedBefore, ClientKeys, KeysOfBefore
from steelyard.serving.key_ends import NEVER, until
from steelyard.serving.service_keys import DIGITS, others

from .path import file_commands

DeclaredKeys = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]  # clients: name, and SHA-256 and end of each key


class ShowTheDeclaredKey(set[str]):
    """Gateways of this run that show the declared key to fronts by now."""


def client_changes(live: Mapping[str, Mapping[str, int]], declared: DeclaredKeys) -> list[str]:
    """Sentences on each client whose keys change. Keys are told apart by the first digits of their hashes. Pure."""
    sentences = []
    wanted = {name: {sha256[:DIGITS]: end for sha256, end in keys} for name, keys in declared}
    for name in sorted(live.keys() | wanted.keys()):
        was, shall = live.get(name, {}), wanted.get(name, {})
        if was == shall:
            continue
        kept = was.keys() & shall.keys()
        if not was:
            sentences.append(f"client {name}: new")
        elif not shall:
            sentences.append(f"client {name}: removed, its keys are refused")
        elif not kept:
            sentences.append(f"client {name}: another key, and the one before is refused at once")
        else:
            changes = ["another key"] * bool(shall.keys() - was.keys())
            changes += ["a key is refused"] * bool(was.keys() - shall.keys())
            moved = sorted({shall[key] for key in kept if shall[key] != was[key]})
            changes += [f"the one before is valid {until(end)}" for end in moved]
            sentences.append(f"client {name}: {', '.join(changes)}")
    return sentences


def lost_at_once(live: Mapping[str, Mapping[str, int]], declared: DeclaredKeys) -> list[str]:
    """Clients that are declared still, and none of whose keys of before is. Pure."""
    wanted = {name: {sha256[:DIGITS] for sha256, _ in keys} for name, keys in declared}
    return sorted(name for name, keys in live.items() if wanted.get(name) and not wanted[name] & keys.keys())


@operation()
def clients_known(
    keys: str, ends: str, texts: tuple[str, str], declared: DeclaredKeys, overlapping: str | None = None
) -> Generator[StringCommand, None, None]:
    """The maps `ends` and `keys` hold these clients' keys (`texts`), as hashes; the plan names each client that
    changes.

    `overlapping`: a client whose key is kept somewhere else, and who is told of a new one after this: it must not lose
    the one that it has.
    """
    live = host.get_fact(ClientKeys, keys=keys, ends=ends)
    lost = lost_at_once(live, declared)
    if overlapping is not None and overlapping in lost:
        yield Refusal(
            f"client {overlapping} is Dify's, which learns of its new key after this gateway: declare both, "
            f"`{overlapping}: {{keys: [{{key: THE-ONE-BEFORE, until: A-DATE}}, {{key: THE-NEW-ONE}}]}}`; "
            "a date that is past cuts it off at once"
        )
        return
    changes = client_changes(live, declared)
    commands = [
        command
        for path, text in zip((ends, keys), texts, strict=True)
        for command in file_commands(path, text.encode(), "0640", group="haproxy", secret=True)
    ]
    written = [command for command in commands if isinstance(command, FileWrite)]
    if written and changes:
        written[-1].live, written[-1].declared = "other", "; ".join(changes)  # on one line of a plan: names first
        written[-1].effect = Effect.REMOVAL if any("refused" in change for change in changes) else Effect.CHANGE
    yield from commands


def keep_commands(
    declared: str, before: str, older: str, wanted: tuple[str, ...], group: str, current: KeysOfBefore
) -> list[StringCommand]:
    """Commands by which `before` holds what is accepted now, ahead of another declared key; none where it need not."""
    at, kept, new = QuoteString(declared), QuoteString(before), QuoteString(f"{before}.steelyard-new")
    changes = bool(others(current.declared, wanted))
    taken = not current.declared and current.older
    if not changes and not taken and current.is_there:
        return []
    line = f"""printf '%s {NEVER}\\n' "$(tr -d '\\n' < "$key" | sha256sum | cut -c1-64)"; done"""
    hashed = ("find", QuoteString(older), "-type f | while read -r key; do", line)
    source = ("cat", at, "2>/dev/null;") if changes else (*hashed, ";") if taken else ()
    listed = ("{", *source, "cat", kept, "2>/dev/null; true; } |")
    filtered = """awk -v now="$(date +%s)" '$2 > now && !seen[$1]++' >"""
    wish = "the key of before is accepted too, until gateways show the declared one" if changes else "there"
    live = "one key accepted" if changes else "missing"
    owner = QuoteString(f"root:{group}")
    made = ("&& chown", owner, new, "&& chmod 0640", new, "&& sync", new, "&& mv -T", new, kept)
    return [Change("umask 077;", *listed, filtered, new, *made, subject=before, declared=wish, live=live)]


@operation()
def key_before_kept(
    declared: str, before: str, older: str, wanted: tuple[str, ...], group: str
) -> Generator[StringCommand, None, None]:
    """The front goes on accepting what it accepts now when the map `declared` gets other keys: by hashes, in `before`.

    `wanted`: keys that `declared` is to have, `SERVICE:DIGITS`. `older`: folder of keys as releases before kept them.
    """
    current = host.get_fact(AcceptedBefore, declared=declared, before=before, older=older)
    commands = keep_commands(declared, before, older, wanted, group, current)
    if not commands:
        host.noop("the front accepts one key, and goes on with it")
    yield from commands


def end_command(before: str, unit: str, grace_s: int) -> StringCommand:
    """Give the keys of before an end, and have the front load it; where that fails they stay as they were."""
    at, kept, new = QuoteString(before), QuoteString(f"{before}.kept"), QuoteString(f"{before}.steelyard-new")
    ended = f"""awk -v end="$(( $(date +%s) + {grace_s} ))" '$2 == {NEVER} {{ $2 = end }} {{ print }}'"""
    return Change(
        "umask 077; cp -p",
        at,
        new,
        "&&",
        ended,
        at,
        ">",
        new,
        "&& cp -p",
        at,
        kept,
        "&& sync",
        new,
        "&& mv -T",
        new,
        at,
        "&& if systemctl reload",
        QuoteString(unit),
        "; then rm -f",
        kept,
        "; else mv -T",
        kept,
        at,
        "; exit 1; fi",
        subject=before,
        declared=f"the key of before ends {grace_s} s after the gateways show the declared one",
        live="accepted without an end",
    )


@operation()
def key_before_ended(
    declared: str, before: str, older: str, wanted: tuple[str, ...], unit: str, gateways: tuple[str, ...], grace_s: int
) -> Generator[StringCommand, None, None]:
    """Keys of before end, once every gateway shows the declared one in this very run; else they stay.

    `grace_s`: as long as a gateway's process before its reload may hold a request with the key of before.
    """
    if state.is_executing:
        invalidate_facts(host)
        shown = run_slot(state, ShowTheDeclaredKey)
    else:
        shown = ShowTheDeclaredKey(str(one.data.get("host_name", one.name)) for one in state.inventory)
    current = host.get_fact(AcceptedBefore, declared=declared, before=before, older=older)
    will_be = bool(others(current.declared, wanted)) and not state.is_executing
    if not current.unended and not will_be:
        host.noop("no key of before is accepted without an end")
    elif not set(gateways) <= shown:
        host.noop("the key of before is accepted until the gateways show the declared one")
    else:
        yield end_command(before, unit, grace_s)


@operation()
def fronts_accept(
    path: str, content: str, keys: tuple[tuple[str, tuple[str, ...]], ...]
) -> Generator[StringCommand, None, None]:
    """Every front that answers accepts the key that it is to be shown, before `path` becomes another; else this host
    fails, and goes on with the keys of before. `keys`: each, which goes over standard input, and the fronts
    (`ADDRESS:PORT`) that are shown it.
    """
    import hashlib

    current = host.get_fact(Path, path=path)
    if not keys or current.sha256 == hashlib.sha256(content.encode()).hexdigest():
        host.noop("the fronts accept the keys that are shown")
        return
    for key, fronts in keys:
        yield Change(
            RUN_HELPER,
            "key-accepted",
            *(QuoteString(front) for front in fronts),
            ">&2",
            subject="the engines' keys",
            declared=f"accepted by {len(fronts)} fronts",
            live="not asked yet",
            _stdin=key + "\n",
        )


@operation()
def declared_key_shown() -> Generator[StringCommand, None, None]:
    """Changes nothing: says to the hosts of this run that this gateway shows the declared key from here on."""
    if state.is_executing:
        run_slot(state, ShowTheDeclaredKey).add(str(host.data.get("host_name", host.name)))
    host.noop("it shows the declared key")
    yield from ()
