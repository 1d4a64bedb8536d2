"""Networks of keras.applications, run by Keras itself on its torch backend, layer by layer."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.definitions.layers import Layer

# Keras' layers that multiply or normalise -> convkit's words for what they are made of
KINDS = {
    "Conv2D": ("conv2d",),
    "DepthwiseConv2D": ("conv2d",),
    "SeparableConv2D": ("conv2d", "conv2d"),
    "Dense": ("linear",),
    "BatchNormalization": ("batch_norm",),
}
ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
         "moving_variance": "running_var"}  # fmt: skip


class KerasNetwork:
    """A network of keras.applications: call it as net(images, dtype).

    Parameters
    ----------
    function : str
        Its name in keras.applications.
    size : int
        Side of the images.
    **settings
        Further keywords of that function.
    """

    def __init__(self, function: str, size: int, **settings: Any) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        import keras

        if keras.backend.backend() != "torch":
            raise ValueError(f"KERAS_BACKEND={keras.backend.backend()} must be torch")
        self.keras = keras
        self.made: list[Layer] = []
        self._random = np.random.default_rng(0)
        keras.config.set_image_data_format("channels_first")
        self._models = {}
        for dtype in ("float64", "float32"):
            keras.config.set_floatx(dtype)
            self._models[dtype] = getattr(keras.applications, function)(
                weights=None, input_shape=(3, size, size), classifier_activation=None, **settings
            )
        keras.config.set_floatx("float32")

    def draw(self, images: Any) -> None:
        """Draw the weights, for the signals of these images; the same for both widths."""
        self._walk("float64", images, self._draw)
        short = self._models["float32"]
        for layer, twin in zip(self._models["float64"].layers, short.layers, strict=True):
            values = [np.asarray(value, np.float32) for value in layer.get_weights()]
            twin.set_weights(values)
            layer.set_weights([value.astype(np.float64) for value in values])
        self.made = [each for layer in self._models["float64"].layers for each in parts(layer)]

    def __call__(self, images: Any, dtype: str = "float64") -> tuple[Any, ...]:
        """Run on (n, c, h, w) numbers; the outputs as arrays."""
        reads: dict[str, Any] = {}

        def keep(layer: Any, given: Any) -> None:
            reads[layer.name] = given

        output = self._walk(dtype, images, keep)
        for each in self.made:
            if each.after is None and each.name in reads:
                each.read = self.keras.ops.convert_to_numpy(reads[each.name])
        return (self.keras.ops.convert_to_numpy(output),)

    def _walk(self, dtype: str, images: Any, visit: Any) -> Any:
        """Compute layer by layer; `visit` sees each layer and what it is given."""
        import torch

        model = self._models[dtype]
        values: dict[int, Any] = {}
        left = {id(layer): layer for layer in model.layers}
        with torch.no_grad():
            while left:  # Keras lists layers in an order that mostly, not always, can run
                for layer in list(left.values()):
                    wanted = layer.input if isinstance(layer.input, list) else [layer.input]
                    if not layer.name.startswith("input") and layer is not model.layers[0]:
                        if any(id(tensor) not in values for tensor in wanted):
                            continue
                        given = [values[id(tensor)] for tensor in wanted]
                        given = given if isinstance(layer.input, list) else given[0]
                        visit(layer, given)
                        values[id(layer.output)] = layer(given, training=False) if (
                            type(layer).__name__ == "BatchNormalization"
                        ) else layer(given)  # fmt: skip
                    else:
                        image = self.keras.ops.convert_to_tensor(images, dtype=dtype)
                        values[id(layer.output)] = image
                    del left[id(layer)]
        return values[id(model.output)]

    def _draw(self, layer: Any, given: Any) -> None:
        kind = type(layer).__name__
        if kind not in KINDS:
            return
        random = self._random
        if kind == "BatchNormalization":
            x = self.keras.ops.convert_to_numpy(given)
            values = {
                "gamma": 0.7 + 0.6 * random.random(x.shape[1]),
                "beta": 0.1 * random.standard_normal(x.shape[1]),
                "moving_mean": 0.5 * x.mean((0, 2, 3))
                + 0.1 * x.std() * random.standard_normal(x.shape[1]),
                "moving_variance": np.square(x).mean() * (0.7 + 0.6 * random.random(x.shape[1])),
            }
            layer.set_weights([values[weight.name] for weight in layer.weights])
            return
        drawn = [random.standard_normal(tuple(weight.shape)) for weight in layer.weights]
        drawn = [
            0.1 * d if w.name == "bias" else d for w, d in zip(layer.weights, drawn, strict=True)
        ]
        layer.set_weights(drawn)
        drawn[0] /= self.keras.ops.convert_to_numpy(layer(given)).std()
        layer.set_weights(drawn)


def parts(layer: Any) -> list[Layer]:
    """The layers of convkit that a Keras layer is made of, with weights in convkit's layout."""
    kinds = KINDS.get(type(layer).__name__, ())
    if not kinds:
        return []
    arrays = {weight.name: np.asarray(weight) for weight in layer.weights}
    if kinds == ("batch_norm",):
        made = {ROLES[name]: values for name, values in arrays.items()}
        # Keras norms without a gain have one of 1
        made = {"weight": np.ones_like(made["bias"]), **made}
        return [Layer("batch_norm", layer.name, made)]
    bias = {"bias": arrays["bias"]} if "bias" in arrays else {}
    if kinds == ("linear",):
        return [Layer("linear", layer.name, {"weight": arrays["kernel"].T, **bias})]
    if type(layer).__name__ == "Conv2D":
        return [
            Layer("conv2d", layer.name, {"weight": arrays["kernel"].transpose(3, 2, 0, 1), **bias})
        ]
    kernel = arrays.get("depthwise_kernel", arrays.get("kernel"))
    rows, columns, channels, each = kernel.shape
    depthwise = kernel.transpose(2, 3, 0, 1).reshape(channels * each, 1, rows, columns)
    if len(kinds) == 1:
        return [Layer("conv2d", layer.name, {"weight": depthwise, **bias})]
    first = Layer("conv2d", layer.name, {"weight": depthwise})
    pointwise = {"weight": arrays["pointwise_kernel"].transpose(3, 2, 0, 1), **bias}
    return [first, Layer("conv2d", None, pointwise, after=first)]
