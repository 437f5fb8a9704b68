"""Names and values that go into hosts' paths, units, maps and configuration files: what each may consist of.

A pattern is validator, schema and reference page at once, and `in_words` has it for people. What is refused here could
leave its folder, meet somebody else's, or begin a new line where one value belongs. Letters and digits are ASCII's:
what `\\w` and `\\d` match besides is no file name that every tool agrees on. Patterns are Rust's, where `$` is the end.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

WORDS: dict[str, str] = {}  # pattern to what it allows, for people
LINKS = ("current", "previous")  # in a model's folder, beside its versions
LONGEST_VALUE = 100_000  # bytes; Linux starts no program with a variable of more than 131,072
OURS = "STEELYARD_"


def _shape(pattern: str, words: str) -> Any:
    """The pattern of a name, with its words."""
    WORDS[pattern] = words
    return Field(pattern=pattern)


def in_words(pattern: str) -> str | None:
    """The letters that a pattern allows, as the end of a sentence; None for patterns that are none of ours."""
    return WORDS.get(pattern)


def _no_link(name: str) -> str:
    if set(name.split("/")) & set(LINKS):
        raise ValueError("a name without `current` and `previous`: these are links in a model's folder")
    return name


def _no_lock(version: str) -> str:
    if version.endswith(".lock"):
        raise ValueError("a name that does not end in `.lock`: so the lock of a version is named while it is received")
    return _no_link(version)


def _not_ours(name: str) -> str:
    if name.startswith(OURS):
        raise ValueError(f"a name that does not begin with `{OURS}`: these are steelyard's own")
    return name


def _can_be_given(value: str) -> str:
    """Refuse what no unit can give its process: systemd takes no file of variables with such a character."""
    strange = next((letter for letter in value if is_no_character(letter)), None)
    if strange is not None:
        raise ValueError(f"text without U+{ord(strange):04X}, which is no character: systemd takes no file with it")
    if len(value.encode()) > LONGEST_VALUE:
        raise ValueError(f"at most {LONGEST_VALUE} bytes")
    return value


def is_no_character(letter: str) -> bool:
    """Whether Unicode says that a code point is never text; systemd takes none of them, nor halves of pairs."""
    code = ord(letter)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xD800 <= code <= 0xDFFF


def _network(text: str) -> str:
    ipaddress.ip_interface(text)  # its sentence is clear; raises ValueError
    return text


_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_FOLDER_PART = r"\.?[A-Za-z0-9_+@=,~-][A-Za-z0-9._+@=,~-]*"
_TEXT = r"^[^\x00-\x08\x0A-\x1F\x7F]*$"
_OF_URLS = r"A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%{}-"
_LETTERS = "ASCII letters, digits, `.`, `_` and `-`"

Project = Annotated[
    str,
    _shape(rf"^{_PART}(/{_PART}){{0,7}}$", f"up to 8 parts between `/`, each of {_LETTERS}, a letter or digit first"),
    Field(max_length=120),
    AfterValidator(_no_link),
]
Version = Annotated[
    str,
    _shape(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", f"up to 63 of {_LETTERS}, a letter or digit first"),
    AfterValidator(_no_lock),
]
Alias = Annotated[
    str, _shape(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$", f"up to 127 of {_LETTERS}, and `/`, a letter or digit first")
]
ServiceName = Annotated[
    str,
    _shape(
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        "a service's name: its alias, or else its model, in lower case, with `-` for whatever is no letter or digit",
    ),
]
EngineVersion = Annotated[
    str, _shape(r"^[0-9][0-9A-Za-z.+-]*$", "ASCII letters, digits, `.`, `+` and `-`, a digit first")
]
VariableName = Annotated[
    str, _shape(r"^[A-Za-z_][A-Za-z0-9_]{0,254}$", "up to 255 of ASCII letters, digits and `_`, no digit first")
]
EngineVariable = Annotated[VariableName, AfterValidator(_not_ours)]
# whatever a process can be given: the file is quoted for systemd
EngineValue = Annotated[
    str,
    _shape(_TEXT, "text of one line, without NUL and other control characters; tabs may be in it"),
    AfterValidator(_can_be_given),
]
ReleasedImage = Annotated[
    str,
    _shape(
        r"^(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9._/-]+"
        r":[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9._-]{0,64}(?:@sha256:[0-9a-f]{64})?$",
        "an image with its release as its tag, `REGISTRY/REPOSITORY:1.28.16`",
    ),
]
LineOfText = Annotated[str, Field(pattern=_TEXT)]
# with the line feed that a file of ssh-keygen ends with, and YAML's block texts
PublicKey = Annotated[
    str, _shape(r"^[^\x00-\x08\x0A-\x1F\x7F]*\n?$", "one line, as a file `.pub` of ssh-keygen has it")
]
ClientName = Annotated[
    str,
    _shape(r"^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,62}$", f"up to 63 of {_LETTERS}, and `@:/+`, a letter or digit first"),
]
Folder = Annotated[
    str,
    _shape(
        rf"^(/{_FOLDER_PART})+$",
        f"an absolute path of {_LETTERS}, and `+@=,~`, without spaces, `..` and a `/` at its end",
    ),
]
Url = Annotated[
    str,
    _shape(
        rf"^https?://[{_OF_URLS}]+$",
        "an http(s) address of ASCII letters, digits and the marks of a URL, without spaces and quotes",
    ),
]
Upstream = Annotated[
    str,
    _shape(
        rf"^https?://[{_OF_URLS}]*[A-Za-z0-9\]_-]$",
        "an http(s) address of ASCII letters, digits and the marks of a URL, without a `/` at its end",
    ),
]
Address = Annotated[
    str, _shape(r"^[A-Za-z0-9._:\[\]-]{1,253}$", "a host name or an IP address: ASCII letters, digits and `._:[]-`")
]
Network = Annotated[
    str,
    _shape(r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", "an IP address with its prefix length, as 10.0.0.9/24"),
    AfterValidator(_network),
]
NetworkOrAddress = Annotated[
    str,
    _shape(r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "a network as 10.0.0.0/8, or an IP address"),
    AfterValidator(_network),
]
Interface = Annotated[
    str, _shape(r"^[A-Za-z0-9._:-]{1,15}$", "up to 15 of ASCII letters, digits, `.`, `_`, `:` and `-`")
]
Gpu = Annotated[
    str, _shape(r"^(GPU|MIG)-[A-Za-z0-9/_-]+$", "a UUID as `nvidia-smi -L` shows it: `GPU-...` or `MIG-...`")
]
Package = Annotated[
    str,
    _shape(r"^[A-Za-z0-9][A-Za-z0-9.+:=_~*-]*$", "a package's name: ASCII letters, digits and `.+:=_~*-`"),
]
PackageVersion = Annotated[
    str, _shape(r"^[0-9][A-Za-z0-9_.+~:-]*$", "ASCII letters, digits and `_.+~:-`, a digit first")
]
UnitPattern = Annotated[
    str,
    _shape(r"^[A-Za-z0-9*?][A-Za-z0-9:_.\\@*?\[\]-]*$", "a unit's name, or a pattern of `systemctl` for several"),
]
RegistryName = Annotated[
    str, _shape(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", "up to 63 of ASCII letters, digits, `_` and `-`")
]
RegistryHost = Annotated[
    str,
    _shape(
        r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$",
        "a registry's host name, with its port where it has one",
    ),
]
Image = Annotated[
    str,
    _shape(r"^[a-z0-9._/-]+[:@][A-Za-z0-9_][A-Za-z0-9._:-]*$", "REPOSITORY:TAG, or a digest behind `@`"),
]
Clock = Annotated[
    str, _shape(r"^[A-Za-z0-9*,:/.~ _+-]+$", "what systemd's OnCalendar takes, as `03:30` or `Mon..Fri 02:00`")
]
ServerName = Annotated[str, _shape(r"^[A-Za-z0-9._* -]+$", "host names, with a space between them, or `_`")]
UserName = Annotated[
    str, _shape(r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}$", "up to 63 of ASCII letters, digits and `_.@-`")
]

SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")  # a host's name among HAProxy's servers and peers
SERVER_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
