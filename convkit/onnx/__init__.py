"""ONNX files -> graphs. Reading needs the `onnx` package; running what was read does not."""

from __future__ import annotations

from convkit.onnx.importer import Imported, from_onnx

__all__ = ["Imported", "from_onnx"]
