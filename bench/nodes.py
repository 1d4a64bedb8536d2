"""python -m bench nodes: how many nodes each pass of the graph compiler leaves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import convkit
from convkit.graph.bind import bind
from convkit.graph.passes import PASSES
from convkit.graph.passes.choose_layout import choose_layout
from convkit.select import Request

NETWORKS = "lenet5_digits,resnet18,resnet50,vgg16,mobilenet_v2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", default=NETWORKS, help="names, with commas between")


def run(options: argparse.Namespace) -> int:
    names = options.networks.split(",")
    print("\n".join(table(names)))
    return 0


def table(names: list[str]) -> Iterator[str]:
    """A row for each network, a column for each pass in its order."""
    yield "| Network | as written | " + " | ".join(f"`{p}`" for p in PASSES) + " | reorders |"
    yield "|---" * (len(PASSES) + 3) + "|"
    for name in names:
        model = convkit.models.build(name)
        shapes = {value.name: value.sizes for value in model.graph.inputs}
        bound = bind(model.graph, model.state_dict(), shapes)
        counts = [len(bound.graph.nodes)]
        for each in PASSES.values():
            bound = each(bound)
            counts.append(len(bound.graph.nodes))
        laid = choose_layout(bound, Request())
        counts.append(sum(node.op == "reorder" for node in laid.graph.nodes))
        yield f"| {name} | " + " | ".join(map(str, counts)) + " |"
