"""read_network: the config of a Keras model -> layers and who calls them with what.

Three ways of writing it are read: Sequential, functional with the lists of Keras 2 and functional
with the `__keras_tensor__` objects of Keras 3. A model inside a model is a layer with `inner`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from convkit.weights.bounds import shown

#: More layers than this no network has; more calls of them neither.
MOST_LAYERS = 20_000
#: Models inside models inside models ...
MOST_NESTED = 16
MODELS = ("Sequential", "Functional", "Model")
#: What stands only in the files of Keras 3, whose hard sigmoid is another than Keras 2's.
MARKS_OF_KERAS_3 = ('"__keras_tensor__"', '"DTypePolicy"', '"batch_shape"')
#: Settings of a call that change nothing once a network is trained.
IDLE_OF_CALLS = ("training", "mask")


class Ref(NamedTuple):
    """What the `call`-th call of a layer made: the `output`-th of its tensors."""

    layer: str
    call: int
    output: int


#: What a layer is called with: tensors and numbers (`x + 3`), in order.
Call = tuple[Ref | float, ...]


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """A layer as the file describes it.

    `problem` says what is not supported about the way it is called, `inner` is its network where
    the layer is a model.
    """

    name: str
    kind: str
    module: str
    settings: dict[str, Any]
    calls: tuple[Call, ...]
    problem: str | None = None
    inner: Network | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """Layers by name in the order of the file, inputs and outputs."""

    name: str
    layers: dict[str, LayerConfig]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]

    def walk(self) -> Iterator[LayerConfig]:
        """All layers, those of inner models in the place of the models."""
        for layer in self.layers.values():
            if layer.inner is None:
                yield layer
            else:
                yield from layer.inner.walk()


def is_keras_3(config: Any) -> bool:
    """Whether Keras 3 wrote the config."""
    text = json.dumps(config)
    return any(mark in text for mark in MARKS_OF_KERAS_3)


def read_network(config: Any, what: str = "the model", depth: int = 0) -> Network:
    """The network that a model's config describes.

    Raises
    ------
    ValueError
        The config is no model's, or contradicts itself.
    """
    if depth > MOST_NESTED:
        raise ValueError(f"{what}: models are nested more than {MOST_NESTED} deep")
    kind = field(config, "class_name", str, what)
    if kind not in MODELS:
        raise ValueError(f"{what} is a {shown(kind)}: expected a Sequential or functional model")
    inside = config.get("config")
    if kind == "Sequential" and isinstance(inside, list):  # as Keras before 2.2.3 wrote it
        inside = {"name": "sequential", "layers": inside}
    if not isinstance(inside, dict):
        raise ValueError(f"{what} has no config")
    entries = field(inside, "layers", list, what)
    if not 0 < len(entries) <= MOST_LAYERS:
        raise ValueError(f"{what} has {len(entries)} layers: expected 1 to {MOST_LAYERS}")
    name = inside.get("name")
    name = name if isinstance(name, str) else "network"
    if kind == "Sequential":
        return _sequential(name, entries, inside, what, depth)
    return _functional(name, entries, inside, what, depth)


def field(data: Any, key: str, kind: type, what: str) -> Any:
    """A value of an object, of the kind that it must have."""
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"{what} has {key}={shown(value)}: expected a {kind.__name__}")
    return value


def _layer(
    entry: Any, index: int, calls: tuple[Call, ...], problem: str | None, what: str, depth: int
) -> LayerConfig:
    where = f"layer {index} of {what}"
    kind = field(entry, "class_name", str, where)
    settings = field(entry, "config", dict, where) if kind not in MODELS else {}
    inside = entry.get("config")
    name = entry.get("name") or (inside.get("name") if isinstance(inside, dict) else None)
    if not isinstance(name, str) or not name:
        name = f"{kind.lower()}_{index}"
    module = entry.get("module")
    inner = None
    if kind in MODELS:
        inner = read_network(entry, f"model {shown(name)}", depth + 1)
    return LayerConfig(
        name, kind, module if isinstance(module, str) else "", settings, calls, problem, inner
    )


def _sequential(name: str, entries: list[Any], inside: Any, what: str, depth: int) -> Network:
    """Each layer is called once, with what the one before it made."""
    layers: dict[str, LayerConfig] = {}
    before: Ref | None = None
    for index, entry in enumerate(entries):
        layer = _layer(entry, index, (), None, what, depth)
        if before is None and layer.kind != "InputLayer":
            start = _first_input(layer, entry, inside, what)
            layers[start.name] = start
            before = Ref(start.name, 0, 0)
        calls: tuple[Call, ...] = () if before is None else ((before,),)
        if layer.name in layers:
            raise ValueError(f"{what} has two layers of the name {shown(layer.name)}")
        layers[layer.name] = LayerConfig(
            layer.name, layer.kind, layer.module, layer.settings, calls, None, layer.inner
        )
        before = Ref(layer.name, 0, 0)
    assert before is not None
    first = next(iter(layers))
    return Network(name, layers, (Ref(first, 0, 0),), (before,))


def _first_input(layer: LayerConfig, entry: Any, inside: Any, what: str) -> LayerConfig:
    """The input of a Sequential model that has no layer for it: the shape stands elsewhere."""
    built = entry.get("build_config")
    shapes = [
        *(layer.settings.get(key) for key in ("batch_input_shape", "batch_shape")),
        inside.get("build_input_shape"),
        built.get("input_shape") if isinstance(built, dict) else None,
    ]
    if layer.inner is not None:
        first = layer.inner.layers[layer.inner.inputs[0].layer]
        shapes += [first.settings.get(key) for key in ("batch_input_shape", "batch_shape")]
    shape = next((each for each in shapes if each is not None), None)
    if shape is None:
        raise ValueError(f"{what} does not say the shape of its input: it was saved unbuilt")
    return LayerConfig("input", "InputLayer", "", {"batch_shape": shape}, ())


def _functional(name: str, entries: list[Any], inside: Any, what: str, depth: int) -> Network:
    layers: dict[str, LayerConfig] = {}
    for index, entry in enumerate(entries):
        where = f"layer {index} of {what}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is a {type(entry).__name__}: expected an object")
        nodes = entry.get("inbound_nodes", [])
        if not isinstance(nodes, list) or len(nodes) > MOST_LAYERS:
            raise ValueError(f"{where} has inbound_nodes={shown(nodes)}: expected a list")
        problems: list[str] = []
        calls = tuple(_call(node, where, problems) for node in nodes)
        layer = _layer(entry, index, calls, problems[0] if problems else None, what, depth)
        if layer.name in layers:
            raise ValueError(f"{what} has two layers of the name {shown(layer.name)}")
        layers[layer.name] = layer
    inputs, outputs = (_ends(inside.get(key), f"{what}: {key}") for key in
                       ("input_layers", "output_layers"))  # fmt: skip
    for ref in (*inputs, *outputs):
        if ref.layer not in layers:
            raise ValueError(f"{what} has no layer {shown(ref.layer)}, which it begins or ends at")
    return Network(name, layers, inputs, outputs)


def _ends(value: Any, what: str) -> tuple[Ref, ...]:
    """Inputs or outputs: one [layer, call, output], a list or a dict of such."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{what} is {shown(value)}: expected a list of layers")
    return tuple(_ref(each, what) for each in value)


def _ref(value: Any, what: str) -> Ref:
    good = isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str)
    if not good or any(type(number) is not int or number < 0 for number in value[1:3]):
        raise ValueError(f"{what} names {shown(value)}: expected [layer, call, output]")
    return Ref(value[0], value[1], value[2])


def _call(node: Any, what: str, problems: list[str]) -> Call:
    """One call of a layer; what it is given besides tensors and numbers is a problem."""
    found: list[Ref | float] = []
    if isinstance(node, dict):
        _tensors(field(node, "args", list, what), found, what, problems)
        _keywords(node.get("kwargs"), problems)
        return tuple(found)
    if isinstance(node, list) and node and isinstance(node[0], str):
        node = [node]  # one tensor, as some versions wrote it
    if not isinstance(node, list):
        raise ValueError(f"{what} is called with {shown(node)}: expected a list")
    for each in node:
        found.append(_ref(each, what))
        _keywords(each[3] if len(each) > 3 else None, problems)
    return tuple(found)


def _tensors(values: list[Any], found: list[Ref | float], what: str, problems: list[str]) -> None:
    for value in values:
        if isinstance(value, list):  # of tensors, as merging layers take them; not of lists
            flat = [each for each in value if not isinstance(each, list)]
            _tensors(flat, found, what, problems)
            if len(flat) < len(value):
                problems.append("called with lists of lists")
        elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            history = value.get("config")
            history = history.get("keras_history") if isinstance(history, dict) else None
            found.append(_ref(history, what))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(float(value))
        elif value is not None:
            problems.append("called with what is no tensor")


def _keywords(value: Any, problems: list[str]) -> None:
    if isinstance(value, dict):
        odd = [key for key, each in value.items() if key not in IDLE_OF_CALLS and each is not None]
        if odd:
            problems.append(f"called with {', '.join(map(shown, odd))}")
