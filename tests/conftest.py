"""What many tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Generator, Tensor, nn

from asma import mlflow_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

torch.set_num_threads(1)  # the tensors are tiny; threads only get in each other's way


@pytest.fixture
def generator() -> Generator:
    """A generator that starts the same for every test."""
    return Generator().manual_seed(7)


def _lively(net: nn.Module, x: Tensor) -> None:
    draw = Generator().manual_seed(11)
    norms = [m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim == 1 or "importance" in name:
                value.add_(torch.rand(value.shape, generator=draw) - 0.5)
        for norm in norms:
            norm.momentum = 1.0
        net.train()(x)
        for norm in norms:
            norm.momentum = 0.1
    net.eval()


@pytest.fixture(scope="session")
def lively() -> Callable[[nn.Module, Tensor], None]:
    """lively(net, x): statistics of clips x, and no two biases alike, so that nothing can be left
    out unseen.

    A network fresh from its initialisation gives nearly the same answer to everything.
    """
    return _lively


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the environment says of MLflow and DVC counts no more; the store is in `tmp_path`."""
    names = ("MLFLOW_TRACKING_URI", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "RANK")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture(scope="session")
def warm_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose MLflow store exists already: making one takes seconds."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(root))
        mlflow_store.connect()
    return root


@pytest.fixture
def client(own_store: None, warm_store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's client of the warm store, which stages of this test write into."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("DVC_ROOT", str(warm_store))
    return MlflowClient(f"sqlite:///{warm_store}/mlflow.db")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline takes minutes to be made: it comes first, and a second process does the rest
    meanwhile.
    """
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
