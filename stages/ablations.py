"""What the ablations found.   runs/ablations → report/ablations/{tables.md,results.json,claims.md,figures/}"""

from __future__ import annotations

from pathlib import Path

from asma import cli, params, tracking
from asma.report import ablation_tables, ablations, claims, figures, tables


def main(runs: Path, out: Path) -> None:
    content = params.read()
    with tracking.run("ablations") as log:
        found = ablations.collect(content, runs)
        made = ablation_tables.all_tables(found, content)
        tested = claims.put_to_the_test(found)
        said, how = tables.note(found), ablation_tables.made_by(found, content)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "tables.md": ablation_tables.markdown("Ablations", made, said, how),
            "results.json": ablation_tables.as_json(found),
            "claims.md": ablation_tables.claims_markdown(tested, said, how),
        }.items():
            (out / name).write_text(text, encoding="utf-8")
            log.artifact(out / name)
        for name, figure in ablation_tables.figures(found, content).items():
            figures.save(figure, out / "figures", name)
            log.artifact(out / "figures" / f"{name}.png")
        log.metrics({"rows": len(found.rows)})
        log.summary("\n".join(f"{one.benchmark}: {one.claim.text} {one.sentence}" for one in tested))
        log.summary(f"\n{len(found.rows)} rows: {out / 'tables.md'}, {out / 'claims.md'}")


if __name__ == "__main__":
    cli.run(main)
