"""Networks that give every pixel, or every patch of 8x8 pixels, a class.

- SegNet (Badrinarayanan, Kendall and Cipolla 2017, SegNet: a deep convolutional encoder-decoder
  architecture for image segmentation)
- FCN-8s (Long, Shelhamer and Darrell 2015, Fully convolutional networks for semantic segmentation)
- the front end of Yu and Koltun 2016, Multi-scale context aggregation by dilated convolutions
- FCN on a dilated ResNet-50, as torchvision has it (Yu, Koltun and Funkhouser 2017, Dilated
  residual networks)

The first three are VGG-16 written as convolutions. Their weight names are those of the authors'
Caffe files (conv1_1, fc6, score_fr ...), those of the last torchvision's. 21 classes are those of
PASCAL VOC with the background. Sizes that a network cannot take are a ValueError.
"""

from __future__ import annotations

from functools import partial

from convkit.graph import Builder, Model, Value
from convkit.models.resnet import bottleneck, features
from convkit.models.sizes import image_shape
from convkit.problem import PairLike

#: Filters of VGG-16's convolutions in its five stages, which end in a pooling.
STAGES = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)


def segnet(
    *,
    num_classes: int = 21,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """(n, num_classes, h, w) logits, on 360x480 unless told; h and w at least 32.

    The encoder keeps where each maximum stood; the decoder mirrors it and puts values back there.
    Without the top: the 64 channels of each pixel before the last convolution.
    """
    b = Builder(image_shape(input_size, (360, 480), least=32), name="segnet")
    x, kept = b.input, []
    for stage, widths in enumerate(STAGES, 1):
        for i, filters in enumerate(widths, 1):
            x = _normed(b, x, filters, f"conv{stage}_{i}")
        size = x.sizes[2:]
        x, indices = b.max_pool2d(x, 2, return_indices=True, name=f"pool{stage}")
        kept.append((indices, size))
    for stage in range(len(STAGES), 0, -1):
        indices, size = kept[stage - 1]
        x = b.max_unpool2d(x, indices, 2, output_size=size, name=f"upsample{stage}")
        for i in range(len(STAGES[stage - 1]), 0, -1):
            if (stage, i) == (1, 1):
                break
            # As the encoder's convolution of this name read it: the first of a stage has fewer.
            filters = STAGES[stage - 1][0] if i > 1 else STAGES[stage - 2][0]
            x = _normed(b, x, filters, f"conv{stage}_{i}_D")
    if include_top:
        x = b.conv2d(x, num_classes, 3, padding=1, name="conv1_1_D")
    return b.model(x, seed=seed)


def fcn8s(
    *,
    num_classes: int = 21,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """(n, num_classes, h, w) logits, on 500x500 unless told.

    Scores at strides 32, 16 and 8 are added up, each upsampled by a transposed convolution. The
    image gets 100 pixels of zeros on each side, so that one of any size survives five poolings and
    a 7x7 filter; crops take that away again. Without the top: the 4096 channels at stride 32.
    """
    b = Builder(image_shape(input_size, 500), name="fcn8s")
    x, pools = b.input, {}
    for stage, widths in enumerate(STAGES, 1):
        for i, filters in enumerate(widths, 1):
            padding = 100 if (stage, i) == (1, 1) else 1
            name = f"conv{stage}_{i}"
            x = b.conv2d(x, filters, 3, padding=padding, activation="relu", name=name)
        x = pools[stage] = b.max_pool2d(x, 2, ceil_mode=True, name=f"pool{stage}")
    x = b.dropout(b.conv2d(x, 4096, 7, activation="relu", name="fc6"))
    x = b.dropout(b.conv2d(x, 4096, 1, activation="relu", name="fc7"))
    if not include_top:
        return b.model(x, seed=seed)
    score = partial(b.conv2d, filters=num_classes, kernel=1)
    up = partial(b.conv_transpose2d, filters=num_classes, bias=False)
    x = up(score(x, name="score_fr"), kernel=4, stride=2, name="upscore2")
    # Offsets: what the paddings and the upsampling filters add at the top and at the left.
    skip = _cropped(b, score(pools[4], name="score_pool4"), x, 5, "score_pool4c")
    x = b.add(x, skip, name="fuse_pool4")
    x = up(x, kernel=4, stride=2, name="upscore_pool4")
    skip = _cropped(b, score(pools[3], name="score_pool3"), x, 9, "score_pool3c")
    x = b.add(x, skip, name="fuse_pool3")
    x = up(x, kernel=16, stride=8, name="upscore8")
    return b.model(_cropped(b, x, b.input, 31, "score"), seed=seed)


def vgg16_dilated(
    *,
    num_classes: int = 21,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """(n, num_classes, h / 8, w / 8) logits, on 512x512 unless told; h and w multiples of 8, at
    least 192.

    VGG-16 without its last two poolings: the filters behind them are spread by 2 and by 4 instead.
    No convolution pads; the image is mirrored at its edges by what they take away, 186 pixels.
    Without the top: the 4096 channels before the last convolution.
    """
    b = Builder(image_shape(input_size, 512, least=192, of=8), name="vgg16_dilated")
    x = b.input
    for stage, widths in enumerate(STAGES, 1):
        for i, filters in enumerate(widths, 1):
            x = b.conv2d(
                x, filters, 3, padding=186 if (stage, i) == (1, 1) else 0, padding_mode="reflect",
                dilation=2 if stage == 5 else 1, activation="relu", name=f"conv{stage}_{i}",
            )  # fmt: skip
        if stage <= 3:
            x = b.max_pool2d(x, 2, name=f"pool{stage}")
    x = b.dropout(b.conv2d(x, 4096, 7, dilation=4, activation="relu", name="fc6"))
    x = b.dropout(b.conv2d(x, 4096, 1, activation="relu", name="fc7"))
    if include_top:
        x = b.conv2d(x, num_classes, 1, name="final")
    return b.model(x, seed=seed)


def resnet50_fcn_dilated(
    *,
    num_classes: int = 21,
    input_size: PairLike | None = None,
    include_top: bool = True,
    seed: int = 0,
) -> Model:
    """(n, num_classes, h, w) logits, on 520x520 unless told; h and w multiples of 8.

    torchvision's fcn_resnet50 without its side classifier: the last two stages of ResNet-50 do not
    halve the image but spread their filters by 2 and by 4; scores are interpolated to the image's
    size. Without the top: 2048 channels at stride 8.
    """
    b = Builder(image_shape(input_size, 520, least=8, of=8), name="resnet50_fcn_dilated")
    dilated = (False, False, True, True)
    x = features(b, bottleneck, (3, 4, 6, 3), dilated=dilated, prefix="backbone.")
    if not include_top:
        return b.model(x, seed=seed)
    x = b.conv2d(x, x.sizes[1] // 4, 3, padding=1, bias=False, name="classifier.0")
    x = b.dropout(b.batch_norm(x, activation="relu", name="classifier.1"), 0.1)
    x = b.conv2d(x, num_classes, 1, name="classifier.4")
    return b.model(b.upsample2d(x, 8, mode="bilinear", name="upsample"), seed=seed)


def _normed(b: Builder, x: Value, filters: int, name: str) -> Value:
    """3x3 convolution, batch norm, ReLU."""
    x = b.conv2d(x, filters, 3, padding=1, name=name)
    return b.batch_norm(x, activation="relu", name=f"{name}_bn")


def _cropped(b: Builder, x: Value, like: Value, offset: int, name: str) -> Value:
    """The part of x that lies over `like`, which begins `offset` pixels from its corner."""
    return b.crop2d(x, offset, offset, *like.sizes[2:], name=name)
