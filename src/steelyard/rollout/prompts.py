"""A quality set: a JSON document a line, with a prompt and the pattern that its answer must match."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from steelyard.errors import PromptsWrong
from steelyard_host.wire.codec import from_json
from steelyard_host.wire.rollout import Prompt


class PromptLine(BaseModel):
    """One line of the file. The engine answers greedily, so the same version gives the same answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: str | None = Field(None, description="Text to complete; or:")
    messages: list[dict[str, str]] | None = Field(None, description="Chat messages, `role` and `content` each.")
    expect: str = Field(description="Regular expression that is found in the answer.")
    max_tokens: int = Field(64, ge=1, le=4096, description="Longest answer.")

    @model_validator(mode="after")
    def _one(self) -> PromptLine:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give `prompt` or `messages`")
        try:
            re.compile(self.expect)
        except re.error as error:
            raise ValueError(f"`expect` is no regular expression: {error}") from error
        return self


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """The prompts of a quality set. Raises PromptsWrong, with the line."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "strerror", None) or "it is not UTF-8 text")
        raise PromptsWrong(where=str(path), why=reason) from error
    prompts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompts.append(from_json(Prompt, PromptLine.model_validate_json(line).model_dump(exclude_none=True)))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = f"{place}: {first['msg']}" if place else first["msg"]
            raise PromptsWrong(where=f"{path}:{number}", why=reason) from error
    if not prompts:
        raise PromptsWrong(where=str(path), why="there is no prompt in it")
    return tuple(prompts)
