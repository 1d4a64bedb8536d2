"""`bench verify_models`: every network has a definition, and a network that differs is found."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convkit

# At the end: what is installed goes first, convkit above all.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from bench import verify_models as verify  # noqa: E402
from bench.definitions.layers import Layer  # noqa: E402
from bench.definitions.table import Definition, definitions  # noqa: E402


class Twin:
    """What `tiny` computes, in NumPy: two linear layers and a ReLU."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        first = {"weight": random.standard_normal((8, 48)), "bias": random.standard_normal(8)}
        last = {"weight": random.standard_normal((5, 8)), "bias": random.standard_normal(5)}
        self.made = [Layer("linear", "fc1", first), Layer("linear", None, last)]

    def draw(self, images: Any) -> None:
        """Float32 numbers, as the real ones are."""
        for layer in self.made:
            layer.weights = {role: np.float32(values) for role, values in layer.weights.items()}

    def __call__(self, images: Any, dtype: str = "float64") -> tuple[Any, ...]:
        x = images.reshape(len(images), -1).astype(dtype)
        for layer in self.made:
            layer.read = x
            x = x @ layer.weights["weight"].T.astype(dtype) + layer.weights["bias"].astype(dtype)
            x = np.maximum(x, 0) if layer.name == "fc1" else x
        return (x,)


def tiny(activation: str | None = "relu", *, input_size: int = 4) -> convkit.Model:
    """The network that `Twin` defines, or one that forgets its activation."""
    b = convkit.Builder((3, input_size, input_size))
    x = b.linear(b.flatten(b.input), 8, activation=activation, name="fc1")
    return b.model(b.linear(x, 5, name="fc2"))


def row(**keywords: Any) -> verify.Row:
    """The row of `tiny`, built with these keywords."""
    made = Definition("tiny", "NumPy", Twin, 4, keywords=keywords)
    (found,) = verify.checked(["tiny"], [made])
    return found


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` among the networks."""
    monkeypatch.setitem(convkit.models.MODELS, "tiny", tiny)


def test_every_network_has_a_definition() -> None:
    defined = {each.network for each in definitions()}
    assert set(convkit.models.names()) - defined == set()


def test_labels_are_unique() -> None:
    labels = [each.label for each in definitions()]
    assert len(labels) == len(set(labels))


@pytest.mark.usefixtures("listed")
def test_the_same_network_agrees() -> None:
    found = row()
    assert found.ok, str(found)
    assert found.high < 1e-5 and found.signal > 0.01


@pytest.mark.usefixtures("listed")
def test_a_forgotten_activation_is_found_where_it_is() -> None:
    found = row(activation=None)
    assert not found.ok
    assert "between fc1 and fc2" in found.said


@pytest.mark.usefixtures("listed")
def test_a_layer_too_few_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(*, input_size: int) -> convkit.Model:
        b = convkit.Builder((3, input_size, input_size))
        return b.model(b.linear(b.flatten(b.input), 8, name="fc1"))

    monkeypatch.setitem(convkit.models.MODELS, "tiny", shorter)
    found = row()
    assert not found.ok
    assert "no layer for the definition's linear" in found.said


@pytest.mark.usefixtures("listed")
def test_without_a_definition_a_network_does_not_count() -> None:
    (found,) = verify.checked(["tiny"], [])
    assert not found.ok and found.said == "no definition"


def test_logits_that_do_not_depend_on_the_image_do_not_count() -> None:
    agreeing = {"high": 1e-6, "highest": 1e-7, "torch": 1e-7}
    assert verify.Row("a", "b", "c", **agreeing, signal=0.5).ok
    assert not verify.Row("a", "b", "c", **agreeing, signal=0.005).ok
    assert not verify.Row("a", "b", "c", **{**agreeing, "highest": 5e-7}, signal=0.5).ok
    assert not verify.Row("a", "b", "c", **{**agreeing, "high": np.nan}, signal=0.5).ok


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match="--only: convkit has no network 'resnet19'"):
        verify.run(argparse.Namespace(only="resnet19"))


def test_missing_pytorch_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs PyTorch: pip install torch"):
        verify.run(argparse.Namespace(only=None))
