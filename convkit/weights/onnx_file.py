"""ONNX files: the initialisers, in the order in which the nodes read them."""

from __future__ import annotations

import os

from convkit.weights import Weights, explained, regular
from convkit.weights.bounds import Budget, shown


def read_onnx(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Weights:
    """The initialisers of an .onnx file by name; needs the extra `onnx`.

    Raises ValueError where the file is broken or keeps data outside its folder, OSError where it
    is absent.
    """
    from convkit.onnx.file import Tensors, read_model, text

    file = regular(path)
    with explained(file):
        graph = read_model(file).graph
        # Data kept beside the file count with it.
        budget = Budget(file.stat().st_size, max_bytes)
        tensors = Tensors(file)
        found: Weights = {}
        for initialiser in graph.initializer:
            name = text(initialiser.name, "an initialiser's name")
            what = f"initialiser {shown(name)}"
            if name in found:
                raise ValueError(f"{what} stands twice")
            array = tensors.array(initialiser, what)
            if initialiser.data_location == 0:
                budget.take(array.nbytes, what)
            found[name] = array.copy()
        if not found:
            raise ValueError("the file holds no initialiser")
        read = [text(name, "an input's name") for node in graph.node for name in node.input]
        order = [name for name in dict.fromkeys(read) if name in found]
        return {name: found[name] for name in dict.fromkeys([*order, *found])}
