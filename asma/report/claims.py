"""The paper's claims, put to the test on the runs of the ablations: what was compared, by how much, and a verdict.

A claim holds on a benchmark where every one of its comparisons was run and came out that way by both tests of `paired`,
does not hold where one came out the other way, and cannot be told at this size otherwise. One of several does that by
chance more often than one alone, so for the other way their p are corrected (Holm); for all of them to agree they need
no correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asma.plan import DEFAULT
from asma.report.ablations import Ablation, Found, Row
from asma.report.paired import LEVEL, Comparison, compare, holm, points
from asma.report.tables import NONE, Line, Table

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "cannot be told", "was not run"
Side = tuple[Ablation, str, str | None]  # line of the grid, mode, stream (None: that of the tables)


@dataclass(frozen=True)
class Claim:
    """A claim and the pairs of rows whose difference it says is positive."""

    key: str
    text: str
    pairs: tuple[tuple[str, Side, Side], ...]  # what is compared, this one, that one


@dataclass(frozen=True)
class Tested:
    """A claim on one benchmark."""

    claim: Claim
    benchmark: str
    comparisons: tuple[tuple[str, Row, Row, Comparison], ...]

    @property
    def verdict(self) -> str:
        """HOLDS, FAILS, OPEN, or ABSENT where the grid had none of it."""
        all_of_it = [comparison for *_, comparison in self.comparisons]
        found = {comparison.verdict for comparison in all_of_it}
        if not found:
            return ABSENT
        corrected = holm([comparison.p for comparison in all_of_it])
        if any(p < LEVEL and one.difference < 0 for p, one in zip(corrected, all_of_it, strict=True)):
            return FAILS
        return HOLDS if found == {"better"} and not self.missing else OPEN

    @property
    def missing(self) -> list[str]:
        """What the claim compares and the grid has no rows for."""
        run = {what for what, *_ in self.comparisons}
        return [what for what, *_ in self.claim.pairs if what not in run]

    @property
    def differences(self) -> str:
        """What was found and what was not run, in a sentence or two; empty where nothing was compared."""
        said = "; ".join(
            f"{what}: {points(c.difference)} points"
            + (f" ({points(c.low)} to {points(c.high)})" if c.low is not None and c.high is not None else "")
            for what, _, _, c in self.comparisons
        )
        left = f" Not run: {'; '.join(self.missing)}." if self.missing else ""
        return f"{said[0].upper()}{said[1:]}.{left}" if said else ""

    @property
    def sentence(self) -> str:
        """The verdict and what was found."""
        words = f"{self.verdict} at this size" if self.verdict == OPEN else self.verdict
        return f"{words[0].upper()}{words[1:]}. {self.differences}".rstrip()


def claims(first: str, second: str) -> list[Claim]:
    """What the paper claims, for the two encoders of `fuse`."""
    wide = "encoder.width=32"

    def probe(encoder: str, mode: str, pretrained: str = DEFAULT) -> Side:
        return Ablation("probe", (encoder,), pretrained, None), mode, None

    def fused(a: str, b: str, mode: str = "aligned_probed", stream: str | None = None) -> Side:
        return Ablation("fuse", ("pretrain", a, b)), mode, stream

    def tuned(encoder: str, change: str = DEFAULT) -> Side:
        return (
            Ablation("finetune", (encoder,), DEFAULT, change),
            "scratch" if encoder == "random" else "finetuned",
            None,
        )

    def student(teacher: str, mode: str, change: str = DEFAULT) -> Side:
        return Ablation("distill", (teacher,), None, change), mode, None

    both, chance = fused(first, second), "randomdeg_randommot"
    joined = fused(first, second, "concatenated_probed")
    return [
        Claim(
            "asymmetric",
            "An asymmetric pair of masks is better than a symmetric one and than random masks.",
            (
                ("asymmetric against symmetric pair", both, fused("lowdeg_lowmot", "highdeg_highmot")),
                ("asymmetric pair against two with random masks", both, fused(chance, f"{chance}_2")),
            ),
        ),
        Claim(
            "each alone",
            "Each of the two asymmetric masks is better alone than random masks.",
            (
                (f"{first} alone against random masks", probe(first, "standardised"), probe(chance, "standardised")),
                (f"{second} alone against random masks", probe(second, "standardised"), probe(chance, "standardised")),
            ),
        ),
        Claim(
            "two encoders",
            "Two different encoders are better than one of twice the width and than two of one kind.",
            (
                ("two against one of twice the width, linear", joined, probe(first, "linear", wide)),
                (f"two kinds against two of {first}", both, fused(first, f"{first}_2")),
                (f"two kinds against two of {second}", both, fused(second, f"{second}_2")),
            ),
        ),
        Claim(
            "alignment",
            "Feature alignment is better than averaging, and than a head of its size on the features side by side.",
            (
                ("alignment against average", both, fused(first, second, "averaged_probed")),
                ("alignment against a linear head on both", both, joined),
                (
                    "alignment against a head of its size on both",
                    both,
                    fused(first, second, "concatenated_wide_probed"),
                ),
            ),
        ),
        Claim(
            "pretraining",
            "Pretraining is better than an untrained encoder, frozen, and than training from scratch, fine-tuned.",
            (
                ("pretrained against untrained, linear", probe(first, "linear"), probe("random", "linear")),
                (
                    "pretrained against untrained, standardised",
                    probe(first, "standardised"),
                    probe("random", "standardised"),
                ),
                ("fine-tuned against from scratch", tuned(first), tuned("random")),
                (
                    "with a tenth of the labels",
                    tuned(first, "finetune.labels=0.1"),
                    tuned("random", "finetune.labels=0.1"),
                ),
            ),
        ),
        Claim(
            "student",
            "The student is better than its probed teacher and than the same network trained from scratch on labels.",
            (
                ("student against its probed teacher", student("pretrain", "distilled_probed"), both),
                (
                    "student of the fine-tuned teacher against from scratch",
                    student("finetune", "distilled_finetuned"),
                    student("pretrain", "scratch_probed", "distill.form=labels"),
                ),
            ),
        ),
        Claim(
            "streams",
            "Three streams together are better than one.",
            tuple(
                (f"three streams against {one}", fused(first, second, stream="3s"), fused(first, second, stream=one))
                for one in ("joint", "bone", "motion")
            ),
        ),
    ]


def put_to_the_test(found: Found) -> list[Tested]:
    """Every claim on every benchmark, as far as the grid has its rows."""
    return [
        Tested(claim, benchmark, tuple(_comparisons(claim, benchmark, found)))
        for claim in claims(found.first, found.second)
        for benchmark in found.benchmarks
    ]


def _comparisons(claim: Claim, benchmark: str, found: Found) -> Iterator[tuple[str, Row, Row, Comparison]]:
    """In the stream that the tables are of, or where that was not run in the first single one that was."""
    for what, this, that in claim.pairs:
        for default in dict.fromkeys((found.stream, *found.streams)):
            a, b = (found.get(ablation, mode, benchmark, stream or default) for ablation, mode, stream in (this, that))
            if a and b:
                yield what, a, b, compare(a, b)
                break


def table(tested: Tested, title: str) -> Table:
    """The comparisons of one claim on one benchmark."""
    lines = [
        Line(
            [
                what,
                a.stream if a.stream == b.stream else f"{a.stream}, {b.stream}",
                a.spread,
                b.spread,
                points(c.difference),
                f"{points(c.low)} to {points(c.high)}" if c.low is not None and c.high is not None else NONE,
                _p(c.p_seeds),
                _p(c.p_recordings),
            ],
            runs={2: a.runs, 3: b.runs},
        )
        for what, a, b, c in tested.comparisons
    ]
    seeds = {c.seeds for *_, c in tested.comparisons}
    n = " or ".join(map(str, sorted(seeds))) or "no"
    caption = (
        f"Top-1 in per cent, mean ± deviation over {n} seeds; difference in points with its 95 % interval; "
        "p of a paired t over the seeds and of a sign-flip test over the recordings, each by "
        "itself. A comparison counts where both are below 0.05; one that goes the other way, after Holm over its claim."
    )
    header = ["Comparison", "Stream", "This", "That", "Difference", "95 %", "p seeds", "p recordings"]
    return Table(title, caption, header, 2, lines)


def _p(value: float | None) -> str:
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
