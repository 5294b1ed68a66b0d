"""The images of MNIST, as they come without a folder of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets

from scalemix.mnist import mnist


def test_the_shared_images_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pixels = np.arange(2 * 784).reshape(2, 784) % 256
    bunch = SimpleNamespace(data=pixels, target=np.array(["3", "7"]))
    monkeypatch.setenv("SCALEMIX_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: bunch)
    images, labels = mnist.__wrapped__("train")
    np.testing.assert_allclose(images[1, 27, 27], pixels[1, -1] / 255, rtol=1e-6)
    assert labels.tolist() == [3, 7]
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 0
