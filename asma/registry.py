"""A network as a version of MLflow's model registry."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from asma import mlflow_store


def register(run_id: str, name: str, module: nn.Module, example: np.ndarray) -> str:
    """Make a module the next version of `name` in the model registry, and return its URI.

    Kept as an exported graph (no pickled code), with signature, input example and the two packages
    it needs, on the CPU and in evaluation mode; `module` itself is left as it was. The first axis
    of `example` (float32) is the batch; the registered model takes any batch size, which is
    checked here on one that is not the example's. `run_id`: the run it belongs to, which has to be
    open. Raises RuntimeError where the reloaded model disagrees with the module.
    """
    network = copy.deepcopy(module).cpu().eval()
    if len(example) < 2:  # an exported graph takes a size of one for a constant
        example = np.repeat(example, 2, axis=0)
    example = example[:2]
    batch = np.concatenate([example, example[:1]])
    with torch.no_grad():
        logits, expected = (network(torch.from_numpy(x)).numpy() for x in (example, batch))
    version, reloaded = _log_model(run_id, name, network, example, logits)
    if not np.allclose(reloaded.predict(batch), expected, rtol=1e-3, atol=1e-4):
        raise RuntimeError(f"model {name}: the registered copy disagrees with it on a batch of 3")
    return f"models:/{name}/{version}"


def _log_model(
    run_id: str,
    name: str,
    network: nn.Module,
    example: np.ndarray,
    logits: np.ndarray,
) -> tuple[str, Any]:
    """The version of a registered network, and the registered model read back."""
    client, experiment = mlflow_store.connect()
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(mlflow_store.place()[0])  # of the global functions, which models need
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own modules, which are imported here
            import mlflow.pytorch
            from mlflow.models import infer_signature

            # Without an entry of its own the model would land in MLflow's default experiment.
            entry = client.create_logged_model(experiment, name, run_id)
            info = mlflow.pytorch.log_model(
                network,
                name=name,
                model_id=entry.model_id,
                signature=infer_signature(example, logits),
                input_example=example,
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
                registered_model_name=name,
                serialization_format="pt2",
                validate_serving_input=False,  # a second reading: whoever calls compares answers
                run_id=run_id,
            )
            return str(info.registered_model_version), mlflow.pyfunc.load_model(info.model_uri)
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
