"""Shaders as bytes, as the disk cache keeps them: JSON, a launch parameter p3 as {"p": 3}."""

from __future__ import annotations

import json

from charl.codegen.wgsl import Shader
from charl.schedule.kernel import P


def pack(shader: Shader) -> bytes:
    """The shader's fields, in order."""
    return json.dumps(_plain(tuple(shader)), separators=(",", ":")).encode()


def unpack(data: bytes) -> Shader:
    """The shader that was packed."""
    return Shader(*_typed(json.loads(data)))


def _plain(value):
    if isinstance(value, P):
        return {"p": value.k}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _typed(value):
    if isinstance(value, dict):
        return P(value["p"])
    return tuple(_typed(v) for v in value) if isinstance(value, list) else value
