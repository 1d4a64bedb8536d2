"""Networks as PyTorch modules with random weights, and their ONNX files: what every engine runs.

Twelve families of layers that one meets in files: plain stacks, residuals, concatenations of
branches and of everything before, groups, depthwise filters, squeeze-excite. The shapes are the
papers'. PyTorch is imported only when a network is built.

Weights are drawn so that the answer depends on the image: with PyTorch's own, the last layers of
the deeper networks see little but their biases, and any two engines would agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Module = Any
#: Added to the names of exported files; another one makes them anew.
VERSION = 1
SIZE = 224
CLASSES = 1000


def _layer(
    c: int, k: int, size: int, stride: int = 1, pad: int | None = None, *, groups: int = 1,
    act: str = "relu",
) -> Module:  # fmt: skip
    """Convolution, batch norm, activation; padded to "same" if not said otherwise."""
    from torch import nn

    acts = {"relu": [nn.ReLU()], "relu6": [nn.ReLU6()], "silu": [nn.SiLU()], "": []}[act]
    pad = size // 2 if pad is None else pad
    conv = nn.Conv2d(c, k, size, stride, pad, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(k), *acts)


def _conv(c: int, k: int, size: int, stride: int = 1, pad: int = 0) -> Sequence[Module]:
    """Convolution with a bias, and ReLU."""
    from torch import nn

    return nn.Conv2d(c, k, size, stride, pad), nn.ReLU()


def _head(c: int) -> Sequence[Module]:
    from torch import nn

    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, CLASSES)


def _sum(*branches: Module, act: str = "") -> Module:
    """branches[0](x) + branches[1](x) ..., then perhaps ReLU."""
    import torch
    from torch import nn

    class Sum(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x: Any) -> Any:
            y = self.branches[0](x)
            for branch in self.branches[1:]:
                y = y + branch(x)
            return torch.relu(y) if act else y

    return Sum()


def _concat(*branches: Module) -> Module:
    """The answers of all branches side by side as channels."""
    import torch
    from torch import nn

    class Concat(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self.branches], 1)

    return Concat()


def _residual(branch: Module, shortcut: Module | None, act: str = "relu") -> Module:
    from torch import nn

    branch[-1][1].quiet = True  # see _draw
    return _sum(branch, shortcut or nn.Identity(), act=act)


def _alexnet() -> Module:
    """Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014."""
    from torch import nn

    return nn.Sequential(
        *_conv(3, 64, 11, 4, 2), nn.MaxPool2d(3, 2), *_conv(64, 192, 5, 1, 2), nn.MaxPool2d(3, 2),
        *_conv(192, 384, 3, 1, 1), *_conv(384, 256, 3, 1, 1), *_conv(256, 256, 3, 1, 1),
        nn.MaxPool2d(3, 2), nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, CLASSES),
    )  # fmt: skip


def _vgg16() -> Module:
    """Simonyan and Zisserman, Very deep convolutional networks, 2015."""
    from torch import nn

    layers: list[Module] = []
    c = 3
    for k, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += _conv(c, k, 3, 1, 1)
            c = k
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, CLASSES),
    )  # fmt: skip


def _googlenet() -> Module:
    """Szegedy et al., Going deeper with convolutions, 2015; with batch norm, as in its files."""
    from torch import nn

    def inception(c: int, one: int, three: Sequence[int], five: Sequence[int], pool: int) -> Module:
        return _concat(
            _layer(c, one, 1),
            nn.Sequential(_layer(c, three[0], 1), _layer(*three, 3)),
            nn.Sequential(_layer(c, five[0], 1), _layer(*five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), _layer(c, pool, 1)),
        )

    def pool() -> Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        _layer(3, 64, 7, 2), pool(), _layer(64, 64, 1), _layer(64, 192, 3), pool(),
        inception(192, 64, (96, 128), (16, 32), 32),
        inception(256, 128, (128, 192), (32, 96), 64), pool(),
        inception(480, 192, (96, 208), (16, 48), 64),
        inception(512, 160, (112, 224), (24, 64), 64),
        inception(512, 128, (128, 256), (24, 64), 64),
        inception(512, 112, (144, 288), (32, 64), 64),
        inception(528, 256, (160, 320), (32, 128), 128), pool(),
        inception(832, 256, (160, 320), (32, 128), 128),
        inception(832, 384, (192, 384), (48, 128), 128),
        *_head(1024),
    )  # fmt: skip


def _squeezenet() -> Module:
    """SqueezeNet 1.1: Iandola et al., SqueezeNet, 2016, and its authors' second version."""
    from torch import nn

    def fire(c: int, squeeze: int, expand: int) -> Sequence[Module]:
        branches = (nn.Sequential(*_conv(squeeze, expand, r, 1, r // 2)) for r in (1, 3))
        return *_conv(c, squeeze, 1), _concat(*branches)

    def pool() -> Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *_conv(3, 64, 3, 2), pool(), *fire(64, 16, 64), *fire(128, 16, 64), pool(),
        *fire(128, 32, 128), *fire(256, 32, 128), pool(), *fire(256, 48, 192),
        *fire(384, 48, 192), *fire(384, 64, 256), *fire(512, 64, 256),
        nn.Dropout(), *_conv(512, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def _resnet(counts: Sequence[int], *, bottleneck: bool, groups: int = 1, width: int = 64) -> Module:
    """He et al., Deep residual learning, 2016. `width` is a group's, of 64 planes, as in ResNeXt.

    Xie et al., Aggregated residual transformations, 2017.
    """
    from torch import nn

    layers = [_layer(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c = 64
    for stage, count in enumerate(counts):
        planes = 64 << stage
        k = 4 * planes if bottleneck else planes
        inner = planes * width // 64 * groups
        for index in range(count):
            stride = 2 if stage and not index else 1
            if bottleneck:
                middle = _layer(inner, inner, 3, stride, groups=groups)
                parts = [_layer(c, inner, 1), middle, _layer(inner, k, 1, act="")]
            else:
                parts = [_layer(c, k, 3, stride), _layer(k, k, 3, act="")]
            shortcut = None if index or c == k else _layer(c, k, 1, stride, act="")
            layers.append(_residual(nn.Sequential(*parts), shortcut))
            c = k
    return nn.Sequential(*layers, *_head(c))


def _densenet121() -> Module:
    """Huang et al., Densely connected convolutional networks, 2017."""
    from torch import nn

    growth = 32

    def before(c: int, k: int, size: int) -> Sequence[Module]:
        conv = nn.Conv2d(c, k, size, padding=size // 2, bias=False)
        return nn.BatchNorm2d(c), nn.ReLU(), conv

    def dense(c: int) -> Module:
        inner = 4 * growth
        return nn.Sequential(*before(c, inner, 1), *before(inner, growth, 3))

    layers = [_layer(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c = 64
    for stage, count in enumerate((6, 12, 24, 16)):
        if stage:
            layers += [*before(c, c // 2, 1), nn.AvgPool2d(2, 2)]
            c //= 2
        for _ in range(count):
            layers.append(_concat(nn.Identity(), dense(c)))
            c += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(), *_head(c))


def _mobilenet_v1() -> Module:
    """Howard et al., MobileNets, 2017."""
    from torch import nn

    layers = [_layer(3, 32, 3, 2)]
    c = 32
    for k, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
        (1024, 1),
    ):  # fmt: skip
        layers += [_layer(c, c, 3, stride, groups=c), _layer(c, k, 1)]
        c = k
    return nn.Sequential(*layers, *_head(c))


def _excite(c: int, inner: int) -> Module:
    """Hu et al., Squeeze-and-excitation networks, 2018: x times a weight for each channel."""
    from torch import nn

    class Excite(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, inner, 1), nn.SiLU(),
                nn.Conv2d(inner, c, 1), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return x * self.weights(x)

    return Excite()


def _inverted(
    c: int, k: int, size: int, stride: int, expand: int, *, act: str, excite: bool
) -> Module:
    """An inverted residual: 1x1 to more channels, depthwise, squeeze-excite, 1x1 to few."""
    from torch import nn

    inner = c * expand
    parts = [_layer(c, inner, 1, act=act)] if expand > 1 else []
    parts.append(_layer(inner, inner, size, stride, groups=inner, act=act))
    if excite:
        parts.append(_excite(inner, max(1, c // 4)))
    branch = nn.Sequential(*parts, _layer(inner, k, 1, act=""))
    return _residual(branch, None, act="") if stride == 1 and c == k else branch


def _mobile(rows: Sequence[tuple[int, int, int, int, int]], act: str, *, excite: bool) -> Module:
    """A stem, inverted residuals of (expand, filters, count, stride, filter size), a head."""
    from torch import nn

    layers = [_layer(3, 32, 3, 2, act=act)]
    c = 32
    for expand, k, count, first, size in rows:
        for index in range(count):
            stride = 1 if index else first
            layers.append(_inverted(c, k, size, stride, expand, act=act, excite=excite))
            c = k
    return nn.Sequential(*layers, _layer(c, 1280, 1, act=act), *_head(1280))


def _mobilenet_v2() -> Module:
    """Sandler et al., MobileNetV2, 2018."""
    rows = [
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
        (6, 160, 3, 2, 3), (6, 320, 1, 1, 3),
    ]  # fmt: skip
    return _mobile(rows, "relu6", excite=False)


def _efficientnet_b0() -> Module:
    """Tan and Le, EfficientNet, 2019."""
    rows = [
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ]  # fmt: skip
    return _mobile(rows, "silu", excite=True)


NETWORKS: dict[str, Callable[[], Module]] = {
    "alexnet": _alexnet,
    "vgg16": _vgg16,
    "googlenet": _googlenet,
    "squeezenet": _squeezenet,
    "resnet18": lambda: _resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda: _resnet((3, 4, 6, 3), bottleneck=True),
    "resnext50": lambda: _resnet((3, 4, 6, 3), bottleneck=True, groups=32, width=4),
    "densenet121": _densenet121,
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet_b0": _efficientnet_b0,
}


def _draw(module: Module) -> None:
    """Random weights and statistics that neither blow the signal up nor drown it in biases."""
    from torch import nn

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.normal_(part.bias, 0, 0.1)
        elif isinstance(part, nn.BatchNorm2d):
            # The last of a residual branch adds a part of the variance only: sixteen of them would
            # double it sixteen times.
            scale = 0.5 if hasattr(part, "quiet") else 1.0
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.7 * scale, 1.3 * scale)
            part.bias.data.normal_(0, 0.1)


def build(name: str) -> Module:
    """The network for inference, its weights the same in every process. See `NETWORKS`."""
    import torch

    torch.manual_seed(0)
    module = NETWORKS[name]().eval()
    _draw(module)
    return module.requires_grad_(False)


def onnx_file(name: str, folder: Path) -> Path:
    """The network's file in this folder: exported by PyTorch, opset 17, for any batch."""
    path = folder / f"{name}-{VERSION}.onnx"
    if not path.exists():
        import torch

        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        torch.onnx.export(
            build(name), (torch.zeros(1, 3, SIZE, SIZE),), str(unfinished), dynamo=False,
            opset_version=17, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )  # fmt: skip
        unfinished.rename(path)
    return path
