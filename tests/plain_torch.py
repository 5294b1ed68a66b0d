"""Networks that somebody wrote and trained in plain torch: nothing here knows of scalemix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Classifier", "Images", "Mlp", "Words", "trained"]


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
