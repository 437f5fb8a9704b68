"""Refusals of bodies and queries of the wrong shape, in the words of pydantic, which checks them in the real one."""

from __future__ import annotations

from typing import Any

from .credential_forms import TYPE_NAMES, Invalid
from .json_object import JsonObject

HELP = "https://errors.pydantic.dev/2.12/v/"
MODEL_TYPES = ("llm", "text-embedding", "rerank", "speech2text", "moderation", "tts")


class Complaints:
    """Collects what is wrong with one body or query; `schema` is the name of Dify's class for it."""

    def __init__(self, schema: str, given: JsonObject) -> None:
        self.schema, self.given = schema, given
        self.lines: list[str] = []

    def required(self, *fields: str) -> Complaints:
        """Complain of each field that is not there."""
        for field in fields:
            if field not in self.given:
                self._add(field, "Field required", "missing", self.given)
        return self

    def one_of(self, field: str, allowed: tuple[str, ...], kind: str = "enum") -> Complaints:
        """Complain of a value that is none of those allowed."""
        if field in self.given and self.given[field] not in allowed:
            choices = ", ".join("'%s'" % value for value in allowed[:-1]) + " or '%s'" % allowed[-1]
            self._add(field, "Input should be " + choices, kind, self.given[field])
        return self

    def model_type(self) -> Complaints:
        """Complain of a model's type that there is not; names of older releases are understood, and not told of."""
        given = self.given.get("model_type")
        return self if isinstance(given, str) and given in TYPE_NAMES else self.one_of("model_type", MODEL_TYPES)

    def longest(self, field: str, limit: int) -> Complaints:
        """Complain of a text of more than `limit` characters."""
        value = self.given.get(field)
        if isinstance(value, str) and len(value) > limit:
            self._add(field, "String should have at most %d characters" % limit, "string_too_long", value)
        return self

    def text(self, *fields: str, null: bool = False) -> Complaints:
        """Complain of each value that is no text; where `null` is none that is null neither."""
        for field in fields:
            value = self.given.get(field, "")
            if not isinstance(value, str) and not (null and value is None):
                self._add(field, "Input should be a valid string", "string_type", value)
        return self

    def mapping(self, field: str, null: bool = False) -> Complaints:
        """Complain of a value that is no object; where `null` is none that is null neither."""
        value = self.given.get(field, {})
        if not isinstance(value, dict) and not (null and value is None):
            self._add(field, "Input should be a valid dictionary", "dict_type", self.given[field])
        return self

    def listing(self, field: str) -> Complaints:
        """Complain of a value that is no list."""
        if field in self.given and not isinstance(self.given[field], list):
            self._add(field, "Input should be a valid list", "list_type", self.given[field])
        return self

    def between(self, field: str, least: int, most: int) -> Complaints:
        """Complain of a number of a query that is too small, too big, or none."""
        value = self.given.get(field)
        if value is None:
            return self
        if not str(value).lstrip("-").isdigit():
            refusal = "Input should be a valid integer, unable to parse string as an integer"
            self._add(field, refusal, "int_parsing", value)
        elif int(value) > most:
            self._add(field, "Input should be less than or equal to %d" % most, "less_than_equal", value)
        elif int(value) < least:
            self._add(field, "Input should be greater than or equal to %d" % least, "greater_than_equal", value)
        return self

    def refuse(self) -> None:
        """End the check. Raises Invalid with every complaint, where there is one."""
        if self.lines:
            head = "%d validation error%s for %s" % (len(self.lines), "" if len(self.lines) == 1 else "s", self.schema)
            raise Invalid("\n".join([head, *self.lines]))

    def _add(self, field: str, words: str, kind: str, value: Any) -> None:
        detail = "[type=%s, input_value=%s, input_type=%s]" % (kind, shortened(repr(value)), type(value).__name__)
        self.lines.append("%s\n  %s %s\n    For further information visit %s%s" % (field, words, detail, HELP, kind))


def shortened(text: str) -> str:
    """Return a value's text as pydantic shows it: the two ends of what is longer than 50 characters."""
    return text if len(text) <= 50 else text[:25] + "..." + text[-24:]


def page_of(entries: list[JsonObject], page: int, limit: int) -> tuple[list[JsonObject], bool]:
    """Return the entries of a page, the first being 1, and whether more follow."""
    end = page * limit
    return entries[end - limit : end], end < len(entries)
