"""Train `lenet5_digits`, the network of `convkit demo`, and write its weights and test digits.

    python bench/train_digits.py            train, test, write the files of convkit/assets
    python bench/train_digits.py --check    test the stored weights with PyTorch, write nothing

Needs PyTorch and scikit-learn. The data are scikit-learn's 1,797 digits of 8x8, scaled to 32x32 by
`convkit.assets.scale_digits`; those whose index % 5 is 4 are the test digits, which training never
sees. Everything random comes from one seed and runs on one thread, so that a second run repeats the
accuracy.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from convkit.assets import DIGITS, WEIGHTS, scale_digits

#: The source folder's, where the installed package may be a copy.
ASSETS = Path(__file__).resolve().parent.parent / "convkit" / "assets"
SEED = 5
EPOCHS = 120
BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
#: Training digits are turned, stretched and moved by at most this much: radians, share, share.
TURN, STRETCH, MOVE = 0.2, 0.12, 0.12


class LeNet(nn.Module):
    """lenet5_digits in PyTorch, with the names that convkit gives its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(functional.avg_pool2d(self.conv1(x), 2))
        x = torch.tanh(functional.avg_pool2d(self.conv2(x), 2))
        x = torch.tanh(self.fc1(x.flatten(1)))
        return self.fc3(torch.tanh(self.fc2(x)))


def distorted(images: torch.Tensor) -> torch.Tensor:
    """Each image turned, stretched and moved a little, all by random amounts."""
    n = len(images)
    angle = (torch.rand(n) * 2 - 1) * TURN
    rows, columns = (1 + (torch.rand(n) * 2 - 1) * STRETCH for _ in range(2))
    map_ = torch.zeros(n, 2, 3)
    map_[:, 0, 0], map_[:, 0, 1] = torch.cos(angle) * columns, -torch.sin(angle)
    map_[:, 1, 0], map_[:, 1, 1] = torch.sin(angle), torch.cos(angle) * rows
    map_[:, :, 2] = (torch.rand(n, 2) * 2 - 1) * MOVE
    grid = functional.affine_grid(map_, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: torch.Tensor, labels: torch.Tensor) -> LeNet:
    """Adam with a cosine from the learning rate to zero; the last weights are the result."""
    net = LeNet()
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        for picked in torch.randperm(len(images)).split(BATCH):
            loss = functional.cross_entropy(net(distorted(images[picked])), labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def accuracy(net: LeNet, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images that are read right."""
    with torch.no_grad():
        return float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="test the stored weights only")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder of the files")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    small, labels = load_digits(return_X_y=True)
    small = small.reshape(-1, 8, 8).astype(np.uint8)
    test = np.arange(len(small)) % 5 == 4
    images, answers = torch.from_numpy(scale_digits(small)), torch.from_numpy(labels)
    if arguments.check:
        net = LeNet().eval()
        net.load_state_dict(load_file(arguments.out / WEIGHTS.name))
    else:
        net = train(images[~test], answers[~test])
        arguments.out.mkdir(parents=True, exist_ok=True)
        save_file(net.state_dict(), arguments.out / WEIGHTS.name)
        np.savez_compressed(
            arguments.out / DIGITS.name, images=small[test], labels=labels[test].astype(np.uint8)
        )
    for name, picked in (("training", ~test), ("test", test)):
        share = accuracy(net, images[picked], answers[picked])
        print(f"{share:.2%} of the {picked.sum()} {name} digits are read right")


if __name__ == "__main__":
    main()
