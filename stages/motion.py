"""How much each frame moves.   data/clips/<dataset>.h5 → data/motion/<dataset>.h5   (Eq. 3–4)"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import h5py
import numpy as np
import torch

from asma import cli, motion, skeleton, streams, tracking
from asma.data.recordings import PACKED
from asma.plan import Plan
from asma.progress import progress

BLOCK = 2048


@dataclass(frozen=True)
class Settings:
    """What the stage reads of the parameters."""

    motion: motion.Motion


def main(plan: Plan) -> None:
    scoring, dataset, out = plan.load(Settings).motion, plan.axes["dataset"], plan.path("motion")
    with tracking.run("motion", dataset=dataset) as log, h5py.File(plan.path("clips")) as source:
        log.params({"motion": asdict(scoring)})
        x, joints = source["clips"], skeleton.load(str(source.attrs["layout"]))
        scores = {stream: np.empty((len(x), x.shape[2]), np.float32) for stream in streams.STREAMS}
        starts = range(0, len(x), BLOCK)
        for start in progress(starts, f"motion {dataset}", len(starts), "block"):
            block = torch.from_numpy(x[start : start + BLOCK])
            for stream, values in scores.items():
                values[start : start + BLOCK] = motion.score(
                    streams.derive(stream, block, joints), scoring
                ).numpy()
        out.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(out, "w") as file:
            for stream, values in scores.items():
                file.create_dataset(stream, data=values, chunks=True, **PACKED)
            source.copy("names", file)
            file.attrs["kind"], file.attrs["dataset"] = "motion", dataset
            file.attrs["parameters"] = json.dumps(asdict(scoring), sort_keys=True)
        log.metrics(
            {f"mean_score_{stream}": float(values.mean()) for stream, values in scores.items()}
        )
        log.summary(f"motion scores of {len(x)} clips in {len(scores)} streams")


if __name__ == "__main__":
    cli.run(main)
