"""The base of every failure: a class with data, one sentence, one fix, one exit code.

`show` lays them out for people; `as_json` for machines; the docs page and a test render each class from `sample`.
Sentences: lower case, no final stop, values in backticks, the cause before the consequence. A secret is never a field.
"""

from __future__ import annotations

from enum import IntEnum
from shlex import quote
from string import Formatter
from typing import Any, ClassVar, dataclass_transform


class Exit(IntEnum):
    """Exit codes of every command; a contract (docs/design/decisions.md)."""

    DONE = 0
    USAGE = 1
    CHANGES = 2
    HOST_FAILED = 3
    NO_HOST = 4
    ROLLED_BACK = 5
    INTERRUPTED = 6


@dataclass_transform(eq_default=False, kw_only_default=True)
class WithFields(Exception):
    """Annotated names are fields, given by keyword; a type checker reads them as it reads a dataclass.

    dataclasses would write and compile code for each of some seventy classes, at every start of every command.
    """

    def __init__(self, **values: Any) -> None:
        known = self.fields()
        absent = [name for name in known if name not in values and not hasattr(type(self), name)]
        strange = [name for name in values if name not in known]
        if absent or strange:
            raise TypeError(f"{type(self).__name__}: missing {absent}, unknown {strange}")
        super().__init__()
        vars(self).update({name: getattr(type(self), name) for name in known if name not in values}, **values)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the fields, those of the base first."""
        return tuple(
            name
            for kind in reversed(cls.__mro__)
            for name, hint in vars(kind).get("__annotations__", {}).items()
            if not str(hint).startswith("ClassVar")
        )


class _Words(Formatter):
    """str.format with one conversion more."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return quote(str(value)) if conversion == "q" else super().convert_field(value, conversion)


class SteelyardError(WithFields):
    """Base. `sentence` and `fix` are filled from the fields; `where` is the place the reader must go to."""

    sentence: ClassVar[str]
    fix: ClassVar[str]
    sample: ClassVar[dict[str, str]]
    exit: ClassVar[Exit] = Exit.USAGE
    explains: ClassVar[bool] = False  # what the host said last is for `-v`: the sentence holds what matters of it
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence.format(**vars(self))}"

    @property
    def remedy(self) -> str:
        """The fix with its values; `{where!q}` is one word of a shell's, so that its command can be pasted."""
        return _Words().vformat(self.fix, (), vars(self))

    def as_json(self) -> dict[str, str]:
        """Class name, sentence, fix and every field."""
        values = {name: str(getattr(self, name)) for name in self.fields()}
        return {"error": type(self).__name__, "sentence": str(self), "fix": self.remedy, **values}


def nearest_key(found: str, allowed: list[str]) -> str:
    """The allowed word a typo most likely meant; the first allowed one where nothing is near."""
    import difflib

    close = difflib.get_close_matches(found, allowed, n=1, cutoff=0.0)
    return close[0] if close else ""


def show(error: SteelyardError) -> str:
    """`error: WHERE: SENTENCE` and below it the fix."""
    return f"error: {error}\n  fix: {error.remedy}"


def show_many(errors: list[SteelyardError]) -> str:
    """Errors of one class with one remedy are one message with a count and the first places."""
    groups: dict[tuple[type, str, str], list[SteelyardError]] = {}
    for error in errors:
        sentence = error.sentence.format(**vars(error))
        groups.setdefault((type(error), sentence, error.remedy), []).append(error)
    parts = []
    for (_, sentence, remedy), group in groups.items():
        if len(group) == 1:
            parts.append(show(group[0]))
            continue
        names = ", ".join(error.where for error in group[:3]) + (", ..." if len(group) > 3 else "")
        parts.append(f"error: {len(group)} hosts ({names}): {sentence}\n  fix: {remedy}")
    return "\n".join(parts)
