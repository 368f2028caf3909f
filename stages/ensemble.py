"""Add up the streams' logits.   runs/{probe,finetune,fuse,distill,transfer}/…/logits.npz → runs/ensemble"""

from __future__ import annotations

from pathlib import Path

from asma import cli, params, record, results, tracking


def main(runs: Path, out: Path) -> None:
    content = params.read()
    weights = {str(k): float(v) for k, v in content["ensemble"]["weights"].items()}
    with tracking.run("ensemble") as log:
        log.params({"ensemble": content["ensemble"], "streams": content["streams"]})
        rows = []
        for group in results.stream_groups(content, runs):
            rows += results.add_streams(group, weights)
        about = {"stage": "ensemble", "seed": content["seed"], **results.accuracy(rows)}
        record.write(out / "metrics.json", {**about, "results": rows})
        log.metrics(results.accuracy(rows))
        for row in rows:
            log.metrics({f"{row['benchmark']}.{row['encoder']}.{row['mode']}.accuracy": row["accuracy"]})
        log.summary(f"{len(rows)} ensembles of {len(content['streams'])} streams")


if __name__ == "__main__":
    cli.run(main)
