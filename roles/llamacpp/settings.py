"""Settings of llama.cpp; keys, times and GPUs of services are said under `vllm`, whatever their
engine.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.api.names import EngineVersion, Package
from steelyard.serving.llamacpp_options import NEWEST
from steelyard.site.engine_adapter import EngineSettings


class Settings(EngineSettings):
    """The engine's version and what it needs of the host."""

    section: ClassVar[str] = "llamacpp"
    version: EngineVersion = Field(
        NEWEST,
        description=(
            "Version of xllamacpp, which brings llama.cpp's server; the mirror has its wheels in `llamacpp-VERSION/`."
        ),
    )
    packages: tuple[Package, ...] = Field(
        ("python3-venv", "libgomp1", "haproxy"), description="Debian packages a host of this engine needs."
    )
