"""What the ablations found.   runs/ → report/ablations.html, report/ablations/"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asma import cli, tracking
from asma.plan import Plan
from asma.report import ablation_tables, ablations, claims, figures, page, tables


@dataclass(frozen=True)
class Settings:
    """The lines and their runs; `folders` has the folder of each run by `ablations.key`."""

    table: dict[str, Any]
    folders: dict[str, str]


def main(plan: Plan) -> None:
    settings, out = plan.load(Settings), plan.folder
    content, missing = settings.table, settings.table["ablations"].get("missing", "error")
    with tracking.run("ablations") as log:
        found = ablations.collect(content, settings.folders, missing)
        made = ablation_tables.all_tables(found, content)
        far = ablation_tables.pretraining(found, ablations.losses(content, settings.folders))
        tested = claims.put_to_the_test(found)
        said, how = tables.note(found), ablation_tables.made_by(found, content)
        drawn = ablation_tables.figures(found, content)
        titles = {b: found.title(b) for b in found.benchmarks}
        judged = [page.Claim(f"{titles[t.benchmark]}: {t.claim.text}", t.verdict, t.differences) for t in tested]
        behind = [claims.table(t, f"Claim “{t.claim.key}”: {titles[t.benchmark]}") for t in tested if t.comparisons]
        of = [*behind, *made]
        html = page.render("ASMa: ablations", text=how, note=said, of=of, drawn=drawn, claims=judged, titles=titles)
        (out / "ablations").mkdir(parents=True, exist_ok=True)
        for name, text in {
            "ablations.html": html,
            "ablations/tables.md": ablation_tables.markdown("Ablations", made, said, how),
            "ablations/results.json": ablation_tables.as_json(found),
            "ablations/claims.md": ablation_tables.claims_markdown(
                tested, said, how, ablation_tables.parameters(found, content), far
            ),
        }.items():
            (out / name).write_text(text, encoding="utf-8")
            log.artifact(out / name)
        for name, figure in drawn.items():
            figures.save(figure, out / "ablations" / "figures", name)
            log.artifact(out / "ablations" / "figures" / f"{name}.png")
        log.metrics({"rows": len(found.rows)})
        log.summary("\n".join(f"{one.benchmark}: {one.claim.text} {one.sentence}" for one in tested))
        log.summary(f"\n{len(found.rows)} rows: {out / 'ablations.html'}, {out / 'ablations'}/")


if __name__ == "__main__":
    cli.run(main)
