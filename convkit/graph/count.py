"""summarize: count the layers of a network."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convkit.graph.bind import bind
from convkit.graph.field import Field, field_of, field_of_input, pixels
from convkit.graph.ir import Graph, Node, Shape, Value, Weight
from convkit.graph.summary import Summary, SummaryRow
from convkit.problem import shape_of

#: Last parts of the names of nodes that belong to one layer: what `Builder` calls that layer.
PARTS = {"scaled": "affine", "row": "rbf", "apart": "rbf"}
#: Roles of the statistics that Keras counts as parameters that are not trained.
MOVING = ("running_mean", "running_var")


def summarize(
    graph: Graph,
    weights: Mapping[str, np.ndarray[Any, Any]],
    shapes: Mapping[str, Shape],
    frozen: Collection[str] = (),
) -> Summary:
    """Count a network.

    Parameters
    ----------
    graph : Graph
    weights : name -> array
        Those that are there already; random ones need not be drawn to be counted.
    shapes : name -> shape
        Of all inputs, the batch included; what is counted is divided by it.
    frozen : names of weights that are not trained

    Raises
    ------
    ValueError
        A node does not take what these shapes give it; the message names it.
    """
    bound = bind(graph, weights, shapes).graph
    origins = origins_of(graph)
    constant = {*origins, *bound.weights}
    batch = max(1, next((shape[0] for shape in shapes.values() if shape), 1))
    fields: dict[str, Field | None] = {v.name: field_of_input(v) for v in bound.inputs}
    rows = [_row(v.name, "input", v, batch, fields[v.name]) for v in bound.inputs]
    counted: dict[str, Weight] = {}
    for node in bound.nodes:
        field = field_of(node, fields)
        fields.update((value.name, field) for value in node.outputs)
        if all(value.name in constant for value in node.reads):
            constant.update(value.name for value in node.outputs)
            continue  # arithmetic on weights: they count in the layer that reads what it makes
        owned = {weight.name: weight for v in node.reads for weight in origins.get(v.name, ())}
        new = [weight for name, weight in owned.items() if name not in counted]
        counted.update(owned)
        rows.append(
            _row(
                node.name, node.op, node.outputs[0], batch, field,
                params=_numbers(weight for weight in new if weight.trained),
                moving=_numbers(weight for weight in new if weight.role in MOVING),
                macs=multiply_adds(node, constant) // batch,
                trainable=any(w.trained and w.name not in frozen for w in owned.values()),
            )
        )  # fmt: skip
    rows = _whole_layers(rows)
    total = max(1, sum(row.macs for row in rows))
    trained = [weight for weight in counted.values() if weight.trained]
    free = [weight for weight in trained if weight.name not in frozen]
    return Summary(
        name=graph.name,
        input_shapes={name: tuple(shape) for name, shape in shapes.items()},
        rows=tuple(replace(row, share=row.macs / total) for row in rows),
        trainable=_numbers(free),
        tensors=len(trained),
        trainable_tensors=len(free),
    )


def _row(
    name: str,
    kind: str,
    output: Value,
    batch: int,
    field: Field | None,
    *,
    params: int = 0,
    moving: int = 0,
    macs: int = 0,
    trainable: bool = False,
) -> SummaryRow:
    return SummaryRow(
        name=name,
        kind=kind,
        output_shape=output.sizes,
        activations=math.prod(output.sizes) // batch,
        params=params,
        moving=moving,
        macs=macs,
        flops=2 * macs,
        share=0.0,
        receptive_field=pixels(field),
        trainable=trainable,
    )


def _whole_layers(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """One row for each layer that a Builder writes as several nodes."""
    names = {row.name for row in rows}
    whole: list[SummaryRow] = []
    parts: dict[str, list[SummaryRow]] = {}
    for row in rows:
        layer, _, part = row.name.rpartition(".")
        if part in PARTS and layer in names:
            parts.setdefault(layer, []).append(row)
            continue
        mine = parts.pop(row.name, None)
        if mine is not None:
            row = replace(
                row,
                kind=PARTS[mine[0].name.rpartition(".")[2]],
                params=row.params + sum(part.params for part in mine),
                trainable=row.trainable or any(part.trainable for part in mine),
            )
        whole.append(row)
    return [*whole, *(row for mine in parts.values() for row in mine)]


def _numbers(weights: Iterable[Weight]) -> int:
    return sum(math.prod(weight.sizes) for weight in weights)


def origins_of(graph: Graph) -> dict[str, tuple[Weight, ...]]:
    """For each value that follows from weights alone, as a filter that an exporter turned, those
    weights."""
    origins: dict[str, tuple[Weight, ...]] = {
        name: (weight,) for name, weight in graph.weights.items()
    }
    for node in graph.nodes:
        if all(value.name in origins for value in node.reads):
            read = tuple(weight for value in node.reads for weight in origins[value.name])
            origins.update((value.name, read) for value in node.outputs)
    return origins


def multiply_adds(node: Node, constant: Collection[str]) -> int:
    """Multiply-adds of a bound node for its whole batch; 0 of what the rule does not count.

    `constant` names the values that follow from weights and sizes alone: a product of two others
    belongs to no layer.
    """
    if node.op == "conv2d":
        # Each number of the output is a sum over one filter.
        return math.prod(node.outputs[0].sizes) * math.prod(node.reads[1].sizes[1:])
    if node.op == "conv_transpose2d":
        # Each pixel of the input is multiplied by each number of its channel's filters.
        x, weight = node.reads[:2]
        return math.prod(x.sizes) * math.prod(weight.sizes[1:])
    if node.op not in ("linear", "gemm", "matmul"):
        return 0
    a, b = node.reads[:2]
    if not any(value.name in constant for value in (a, b)):
        return 0
    depth = a.sizes[0] if node.keywords.get("trans_a") else a.sizes[-1]
    return math.prod(node.outputs[0].sizes) * depth


def shapes_to_count(
    graph: Graph, sizes: Mapping[str, Any], input_shape: object
) -> dict[str, Shape]:
    """The shapes of all inputs: what the caller asks for, else the network's own.

    Parameters
    ----------
    sizes : name -> sizes
        What a file says of inputs whose sizes are free; a free batch is taken as 1.
    input_shape : None, a shape, a shape for each input, or name -> shape

    Raises
    ------
    ValueError, TypeError
        It is no shape, or another number of them; or it is needed and was not given.
    """
    names = [value.name for value in graph.inputs]
    given: dict[str, Any]
    if isinstance(input_shape, Mapping):
        unknown = [name for name in input_shape if name not in names]
        if unknown:
            raise ValueError(
                f"input_shape names {unknown[0]!r}: {graph.name} takes {', '.join(names)}"
            )
        given = dict(input_shape)
    elif input_shape is None:
        given = {}
    elif not isinstance(input_shape, (tuple, list)):
        raise TypeError(f"input_shape={input_shape!r} must be a shape (n, c, h, w)")
    else:
        listed = [input_shape] if not _of_shapes(input_shape) else list(input_shape)
        if len(listed) != len(names):
            raise ValueError(
                f"input_shape={input_shape!r} must be {len(names)} shapes: {graph.name} takes "
                f"{', '.join(names)}"
            )
        given = dict(zip(names, listed, strict=True))
    return {
        value.name: _sizes(given[value.name])
        if value.name in given
        else _own_shape(graph, value, sizes.get(value.name))
        for value in graph.inputs
    }


def _sizes(shape: Any) -> Shape:
    sizes = shape_of("input", shape)
    if not all(size >= 1 for size in sizes):
        raise ValueError(f"input_shape={sizes} must hold sizes of at least 1")
    return sizes


def _of_shapes(sizes: Sequence[Any]) -> bool:
    return bool(sizes) and all(isinstance(size, (tuple, list)) for size in sizes)


def _own_shape(graph: Graph, value: Value, said: Any) -> Shape:
    """The shape that a network was written for, a free batch taken as 1."""
    if value.shape is not None:
        return value.shape
    shape = (
        None
        if said is None
        else tuple(
            1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(said)
        )
    )
    if shape is None or not all(isinstance(size, int) for size in shape):
        sizes = "any shape" if said is None else f"({', '.join(str(size or '?') for size in said)})"
        raise ValueError(
            f"input_shape=None must be a shape: {value.name} of {graph.name} has {sizes}, "
            f"whose free sizes decide the counts"
        )
    return shape
