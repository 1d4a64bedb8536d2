"""Where the networks come from: for `convkit models` and docs/models.md."""

from __future__ import annotations

#: How names begin -> the paper that describes them; the longest that fits is meant.
PAPERS = {
    "lenet": "LeCun et al. 1998, Gradient-based learning applied to document recognition",
    "lenet_caffe": "Jia et al. 2014, Caffe: convolutional architecture for fast feature embedding",
    "keras_": "Chollet 2017, Deep learning with Python, chapter 5",
    "alexnet": "Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks",
    "alexnet_paper": "Krizhevsky et al. 2012, ImageNet classification with deep convolutional "
    "neural networks",
    "zfnet": "Zeiler and Fergus 2014, Visualizing and understanding convolutional networks",
    "vgg": "Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale image "
    "recognition",
    "vgg16_dilated": "Yu and Koltun 2016, Multi-scale context aggregation by dilated convolutions",
    "googlenet": "Szegedy et al. 2015, Going deeper with convolutions",
    "inception_v2": "Ioffe and Szegedy 2015, Batch normalization: accelerating deep network "
    "training by reducing internal covariate shift",
    "inception_v3": "Szegedy et al. 2016, Rethinking the Inception architecture for computer "
    "vision",
    "inception_": "Szegedy et al. 2016, Inception-v4, Inception-ResNet and the impact of residual "
    "connections on learning",
    "resnet": "He et al. 2016, Deep residual learning for image recognition",
    "plain": "He et al. 2016, Deep residual learning for image recognition",
    "resnet50_v2": "He et al. 2016, Identity mappings in deep residual networks",
    "resnet101_v2": "He et al. 2016, Identity mappings in deep residual networks",
    "resnet152_v2": "He et al. 2016, Identity mappings in deep residual networks",
    "resnet50_fcn": "Yu et al. 2017, Dilated residual networks",
    "resnext": "Xie et al. 2017, Aggregated residual transformations for deep neural networks",
    "densenet": "Huang et al. 2017, Densely connected convolutional networks",
    "xception": "Chollet 2017, Xception: deep learning with depthwise separable convolutions",
    "mobilenet_v1": "Howard et al. 2017, MobileNets: efficient convolutional neural networks for "
    "mobile vision applications",
    "mobilenet_v2": "Sandler et al. 2018, MobileNetV2: inverted residuals and linear bottlenecks",
    "nasnet": "Zoph et al. 2018, Learning transferable architectures for scalable image "
    "recognition",
    "efficientnet": "Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional "
    "neural networks",
    "squeezenet": "Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer "
    "parameters and <0.5MB model size",
    "segnet": "Badrinarayanan et al. 2017, SegNet: a deep convolutional encoder-decoder "
    "architecture for image segmentation",
    "fcn": "Long et al. 2015, Fully convolutional networks for semantic segmentation",
}


def paper(name: str) -> str:
    """Authors, year and title of what describes a network; empty where none is known."""
    fits = [start for start in PAPERS if name.startswith(start)]
    return PAPERS[max(fits, key=len)] if fits else ""
