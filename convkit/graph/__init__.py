"""Networks: written with `Builder` or read from files, compiled to one native program."""

from convkit.graph.builder import Builder
from convkit.graph.compiled import CompiledModel
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.loading import load
from convkit.graph.model import LoadReport, Model

__all__ = [
    "Builder", "CompiledModel", "Graph", "LoadReport", "Model", "Node", "Value", "Weight", "load",
]  # fmt: skip
