"""Networks as frozen lists of nodes: written with `Builder`, run by `Model`."""

from convkit.graph.builder import Builder
from convkit.graph.ir import Graph, Node, Value, Weight
from convkit.graph.model import LoadReport, Model

__all__ = ["Builder", "Graph", "LoadReport", "Model", "Node", "Value", "Weight"]
