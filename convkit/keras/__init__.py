"""Keras files (.h5 and .keras) -> graphs. The layers of the file are translated, none is run."""

from __future__ import annotations

from convkit.keras.importer import Imported, from_keras

__all__ = ["Imported", "from_keras"]
