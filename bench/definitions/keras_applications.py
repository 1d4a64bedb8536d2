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

NASNETS = {
    "NASNetMobile": {"penultimate_filters": 1056, "num_blocks": 4, "stem_block_filters": 32,
                     "skip_reduction": False},
    "NASNetLarge": {"penultimate_filters": 4032, "num_blocks": 6, "stem_block_filters": 96,
                    "skip_reduction": True},
}  # fmt: skip


class KerasNetwork:
    """A network of keras.applications: call it as net(images, dtype).

    Parameters
    ----------
    function : str
        Its name in keras.applications.
    size : int
        Side of the images.
    """

    def __init__(self, function: str, size: int) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        import keras

        if keras.backend.backend() != "torch":
            raise ValueError(f"KERAS_BACKEND={keras.backend.backend()} must be torch")
        self.keras = keras
        self.made: list[Layer] = []
        self.keeping = False  # what each layer reads
        self._random = np.random.default_rng(0)
        keras.config.set_image_data_format("channels_last")
        self._models = {}
        for dtype in ("float64", "float32"):
            keras.utils.clear_session()  # so that names are counted from the start
            keras.config.set_dtype_policy(dtype)
            make = self._nasnet if function in NASNETS else getattr(keras.applications, function)
            self._models[dtype] = make(
                weights=None, input_shape=(size, size, 3), classifier_activation=None,
                **NASNETS.get(function, {}),
            )  # fmt: skip
        keras.config.set_dtype_policy("float32")

    @staticmethod
    def _nasnet(**settings: Any) -> Any:
        """What NASNetMobile and NASNetLarge call; these two refuse the torch backend."""
        from keras.src.applications.nasnet import NASNet

        return NASNet(filter_multiplier=2, default_size=224, **settings)

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
            if self.keeping and type(layer).__name__ in KINDS:
                reads[layer.name] = given

        output = self._walk(dtype, images, keep)
        for each in self.made:
            name = (each.name or "").removesuffix(".depthwise")  # the first half of a separable one
            if each.after is None and name in reads:
                read = self.keras.ops.convert_to_numpy(reads[name])
                each.read = read.transpose(0, 3, 1, 2) if read.ndim == 4 else read
        return (self.keras.ops.convert_to_numpy(output),)

    def _walk(self, dtype: str, images: Any, visit: Any) -> Any:
        """Compute layer by layer; `visit` sees each layer and what it is given."""
        import torch

        model = self._models[dtype]
        image = self.keras.ops.convert_to_tensor(images.transpose(0, 2, 3, 1), dtype=dtype)
        values = {id(model.input): image}
        with torch.no_grad():
            for layer in model.layers[1:]:  # the first is the input itself
                read = layer.input  # what stands for its input, or for its inputs
                if isinstance(read, list):
                    given = [values[id(each)] for each in read]
                else:
                    given = values[id(read)]
                visit(layer, given)
                values[id(layer.output)] = layer(given)
        return values[id(model.output)]

    def _draw(self, layer: Any, given: Any) -> None:
        kind = type(layer).__name__
        if kind not in KINDS:
            return
        random = self._random
        if kind == "BatchNormalization":
            x = self.keras.ops.convert_to_numpy(given)
            values = {
                "gamma": 0.7 + 0.6 * random.random(x.shape[-1]),
                "beta": 0.1 * random.standard_normal(x.shape[-1]),
                "moving_mean": 0.5 * x.mean((0, 1, 2))
                + 0.1 * x.std() * random.standard_normal(x.shape[-1]),
                "moving_variance": np.square(x).mean() * (0.7 + 0.6 * random.random(x.shape[-1])),
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
    first = Layer("conv2d", f"{layer.name}.depthwise", {"weight": depthwise})
    pointwise = {"weight": arrays["pointwise_kernel"].transpose(3, 2, 0, 1), **bias}
    return [first, Layer("conv2d", f"{layer.name}.pointwise", pointwise, after=first)]
