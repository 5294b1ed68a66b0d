"""Networks that somebody wrote and trained in plain torch: nothing here knows of scalemix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Block", "Classifier", "Images", "Mlp", "Residual", "Sequences", "Words", "trained"]


class Mlp(nn.Module):
    """Two linear layers, one output."""

    def __init__(self, columns: int = 3, width: int = 4, outputs: int = 1) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(columns, width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(x)))


class Images(nn.Module):
    """Convolution, pooling, and two linear layers, for images (n, 1, 8, 8) of three kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(27, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Words(nn.Module):
    """An embedding, an LSTM, and a linear layer on its last state, for sequences (n, T) of word numbers."""

    def __init__(self, words: int = 7, width: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 2)
        self.lstm = nn.LSTM(2, width, batch_first=True)
        self.out = nn.Linear(width, 1)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(words))
        return self.out(states[:, -1])


class Sequences(nn.Module):
    """An LSTM over sequences (n, T, columns) and a linear layer on its last state."""

    def __init__(self, columns: int = 5, width: int = 6) -> None:
        super().__init__()
        self.lstm = nn.LSTM(columns, width, batch_first=True)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.out(h[-1])


class Block(nn.Module):
    """Two normalized convolutions beside the identity, or beside a third one where the size changes (He et al., 2016)."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        same = before == after and stride == 1
        self.down = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(h + self.down(x))


class Residual(nn.Module):
    """A small residual network for images (n, 2, 8, 8) of three kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.blocks = nn.Sequential(Block(6, 6), Block(6, 6), Block(6, 8, stride=2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Classifier(nn.Module):
    """Batch normalization and dropout, whose output depends on the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def trained(module: nn.Module, x: Tensor, y: Tensor, *, steps: int = 200, rate: float = 0.02) -> nn.Module:
    """The module after some steps of Adam: squared error for numbers, cross-entropy for classes."""
    classes = not y.is_floating_point()
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        output = module(x)
        loss = nn.functional.cross_entropy(output, y) if classes else ((output[:, 0] - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    return module
