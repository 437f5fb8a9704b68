"""Arguments of ssh as options, in ssh's order: `-o "Port 2222"`, `-oPort=2222`, `-p2222` and `-4Cp 2222` say the same.

ssh takes the first value that it meets, and reads its arguments before its files.
"""

from __future__ import annotations

import getopt
import re
import shlex
from functools import lru_cache
from typing import NamedTuple

from .ssh_options import SYNONYMS, Treatment, treatment_of

LETTERS = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"  # as ssh gives them to getopt
OPTION = re.compile(r"^\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*)$", re.S)
# letters as options; a letter without an argument says its value here
FLAGS = {
    "-4": ("addressfamily", "inet"),
    "-6": ("addressfamily", "inet6"),
    "-b": ("bindaddress", None),
    "-B": ("bindinterface", None),
    "-c": ("ciphers", None),
    "-i": ("identityfile", None),
    "-I": ("pkcs11provider", None),
    "-J": ("proxyjump", None),
    "-l": ("user", None),
    "-m": ("macs", None),
    "-p": ("port", None),
    "-R": ("remoteforward", None),
    "-w": ("tunnel", None),
    "-f": ("forkafterauthentication", "yes"),
    "-n": ("stdinnull", "yes"),
    "-N": ("sessiontype", "none"),
    "-s": ("sessiontype", "subsystem"),
}
WITHOUT_MEANING = frozenset(f"-{letter}" for letter in "12aACDeEgkKLMPqStTvxXYy")
NOT_A_CONNECTION = frozenset(f"-{letter}" for letter in "GOQVW")  # ssh would do something else
STRICTNESS = {
    "yes": "yes",
    "true": "yes",
    "ask": "ask",
    "accept-new": "accept-new",
    "no": "off",
    "off": "off",
    "false": "off",
}
TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}


class SshOption(NamedTuple):
    """One option as it was asked for. `flag` is the letter that said it, where one did."""

    name: str
    value: str
    flag: str = ""


class ArgumentProblem(ValueError):
    """Words that are no arguments of ssh, or ask for what is not done here: which, and why."""

    def __init__(self, argument: str, why: str, treatment: Treatment | None = None) -> None:
        super().__init__(f"{argument}: {why}")
        self.argument, self.why, self.treatment = argument, why, treatment


@lru_cache(maxsize=4096)  # thousands of hosts have the same arguments
def options_in(words: str) -> tuple[SshOption, ...]:
    """Options that arguments of ssh ask for; the configuration file of `-F` is the option `configfile`.

    Raises ArgumentProblem where ssh would refuse them, or we do.
    """
    try:
        given, rest = getopt.getopt(shlex.split(words), LETTERS)
    except ValueError as error:
        raise ArgumentProblem("a quote", str(error).lower()) from None
    except getopt.GetoptError as error:
        raise ArgumentProblem("no arguments of ssh", str(error)) from None
    if rest:
        raise ArgumentProblem(f"`{rest[0]}`", "ssh would take it for the host")
    options = []
    for flag, argument in given:
        if flag == "-o":
            options.append(_option(argument))
        elif flag == "-F":
            options.append(SshOption("configfile", argument, flag))
        elif flag in FLAGS:
            name, value = FLAGS[flag]
            options.append(_checked(SshOption(name, argument if value is None else value, flag), flag))
        elif flag in NOT_A_CONNECTION:
            raise ArgumentProblem(f"`{flag}`", "ssh would open no session", Treatment.REFUSED)
        else:
            assert flag in WITHOUT_MEANING, flag
    return tuple(options)


def _option(text: str) -> SshOption:
    parts = OPTION.match(text)
    if parts is None or not parts[2].strip():
        raise ArgumentProblem(f"`-o {text}`", "an option and its value are needed: `-o Name=value`")
    name = parts[1].lower()
    name = SYNONYMS.get(name, name)
    return _checked(SshOption(name, value_of(name, parts[2])), f"-o {parts[1]}")


def value_of(name: str, text: str) -> str:
    """The value of an option without the quotes around it; a command keeps its own."""
    text = text.strip()
    if name in ("proxycommand", "localcommand", "remotecommand", "userknownhostsfile", "globalknownhostsfile"):
        return text
    try:
        parts = shlex.split(text, comments=True)
    except ValueError as error:
        raise ArgumentProblem(f"`{name}`", str(error).lower()) from None
    return " ".join(parts)


def files_in(value: str) -> list[str]:
    """Several files in one value, with spaces between them; one with a space in it stands in quotes."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def _checked(option: SshOption, said: str) -> SshOption:
    """The option, with a value that ssh would take. Raises ArgumentProblem."""
    name, value, flag = option
    try:
        treatment, why = treatment_of(name, value)
    except LookupError:
        raise ArgumentProblem(f"`{said}`", "ssh knows no such option") from None
    if treatment is Treatment.REFUSED:
        raise ArgumentProblem(f"`{said}`", why, treatment)
    if name == "port" and not (value.isdecimal() and 0 < int(value) < 65536):
        raise ArgumentProblem(f"`{said}` {value}", "a port is 1 to 65535")
    if name == "stricthostkeychecking":
        if value.lower() not in STRICTNESS:
            raise ArgumentProblem(f"`{said}` {value}", f"one of {', '.join(STRICTNESS)}")
        value = STRICTNESS[value.lower()]
    if name == "connecttimeout":
        value = str(_seconds(value, said))
    return SshOption(name, value, flag)


def _seconds(value: str, said: str) -> int:
    """Seconds of a time as ssh writes it, `90`, `1m30s` or `none`, which is 0."""
    parts = re.findall(r"(\d+)([smhdw]?)", value.lower())
    if value.lower() == "none":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != value.lower():
        raise ArgumentProblem(f"`{said}` {value}", "a time, as 30 or 1m30s")
    return sum(int(number) * TIMES[unit] for number, unit in parts)


def first(options: tuple[SshOption, ...], name: str) -> str | None:
    """The value that ssh takes: the first."""
    return next((option.value for option in options if option.name == name), None)


def way_of(options: tuple[SshOption, ...]) -> SshOption | None:
    """ProxyJump or ProxyCommand, whichever ssh meets first; None for a straight way. Raises ArgumentProblem."""
    ways = [option for option in options if option.name in ("proxyjump", "proxycommand")]
    for earlier, way in ((ways[0], way) for way in ways[1:]):
        if way.flag == "-J":
            why = "ssh takes one, with commas between hops" if earlier.name == "proxyjump" else "not with ProxyCommand"
            raise ArgumentProblem("`-J`", why)
    return None if not ways or ways[0].value.lower() == "none" else ways[0]
