"""The networks that come with convkit, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convkit.graph import Model
from convkit.models.lenet import lenet5_digits, lenet_caffe
from convkit.models.resnet_cifar import resnet20_cifar10, resnet32_cifar10
from convkit.problem import one_of

#: Name -> function that builds it.
MODELS: dict[str, Callable[..., Model]] = {
    "lenet5_digits": lenet5_digits,
    "lenet_caffe": lenet_caffe,
    "resnet20_cifar10": resnet20_cifar10,
    "resnet32_cifar10": resnet32_cifar10,
}


def names() -> tuple[str, ...]:
    """The names that `build` takes."""
    return tuple(MODELS)


def build(name: str, **keywords: Any) -> Model:
    """Build a network with seeded random weights, drawn on first use.

    Parameters
    ----------
    name : str
        One of `convkit.models.names()`.
    **keywords
        num_classes : int
            Outputs of the last layer, 10 unless given.
        seed : int
            Of the random weights, 0 unless given.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        There is no network of this name; the message lists them.

    Examples
    --------
    >>> import convkit
    >>> convkit.models.build("lenet5_digits")
    <convkit model lenet5_digits, 61,706 parameters>
    """
    return MODELS[one_of("name", name, names())](**keywords)
