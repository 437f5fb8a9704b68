"""What an operator may say about llama.cpp; keys, times and GPUs of services are said under `vllm`, whatever their engine."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.serving.llamacpp_options import NEWEST
from steelyard.serving.running import EngineSettings


class Settings(EngineSettings):
    """The engine's version and what it needs of the host."""

    section: ClassVar[str] = "llamacpp"
    version: str = Field(
        NEWEST,
        pattern=r"^[0-9][0-9A-Za-z.+-]*$",
        description="Version of xllamacpp, which brings llama.cpp's server; the mirror has its wheels in `llamacpp-VERSION/`.",
    )
    packages: tuple[str, ...] = Field(
        ("python3-venv", "libgomp1", "haproxy"), description="Debian packages a host of this engine needs."
    )
