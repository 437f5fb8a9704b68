"""llama.cpp as a second engine: what role `vllm`, which runs services of every engine, needs to know of it."""

from .engine import LLAMACPP

__all__ = ["LLAMACPP"]
