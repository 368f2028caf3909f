"""A network as a version of MLflow's model registry."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import nn

from asma import registry, tracking


@pytest.mark.slow
def test_a_registered_model_is_right_for_any_batch_size(
    client: MlflowClient, warm_store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Network(nn.Module):
        """What an exported student has: bodies folded into the batch, a graph product, a norm."""

        def __init__(self) -> None:
            super().__init__()
            self.adjacency = nn.Parameter(torch.rand(3, 5, 5))
            self.norm = nn.BatchNorm1d(15)
            self.widen = nn.Conv2d(3, 12, 1)
            self.along = nn.Conv2d(4, 4, (9, 1), padding=(4, 0), stride=(2, 1))
            self.head = nn.Linear(4, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            N, C, T, V, M = x.shape
            x = x.permute(0, 4, 3, 1, 2).reshape(N * M, V * C, T)
            x = self.norm(x).reshape(N * M, V, C, T).permute(0, 2, 3, 1)
            x = self.widen(x).reshape(N * M, 3, 4, T, V)
            x = self.along(torch.einsum("nkctv,kvw->nctw", x, self.adjacency)).relu()
            return self.head(x.mean((2, 3)).reshape(N, M, 4).mean(1))

    torch.manual_seed(0)
    network = Network()
    assert network.training
    with tracking.run("distill", stream="joint") as log:
        example = np.random.default_rng(0).normal(size=(1, 3, 10, 5, 2)).astype("f4")
        uri = registry.register(log.run_id, "student", network, example)
        log.epoch(1, loss=1.0)
    assert uri == "models:/student/1"
    assert network.training
    assert capfd.readouterr() == ("", "")
    assert "MLFLOW_TRACKING_URI" not in os.environ

    version = client.get_model_version("student", "1")
    assert version.run_id == log.run_id
    assert client.get_run(log.run_id).info.status == "FINISHED"
    mlflow.set_tracking_uri(f"sqlite:///{warm_store}/mlflow.db")
    try:
        model = mlflow.pyfunc.load_model(uri)
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 3, 10, 5, 2)
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, 6)
    network.eval()
    for size in (1, 2, 5, 17):
        batch = np.random.default_rng(size).normal(size=(size, 3, 10, 5, 2)).astype("f4")
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(model.predict(batch), expected, rtol=1e-4, atol=1e-5)
    kept = [path.name for path in (warm_store / "mlartifacts").rglob("*") if path.is_file()]
    assert "model.pt2" in kept
    assert not [name for name in kept if name.endswith((".pkl", ".pth", ".pickle"))]
