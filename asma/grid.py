"""Which runs there are, where each lies, and the plan of each.   parameters → Plan

A run of the table lies in `runs/<stage>/<recipe>@<benchmark>`, one of the ablations alone in
`runs/ablations/<stage>/<recipe>@<benchmark>`. A line of the ablations is a recipe with changes in
its name, `lowdeg_highmot+mask.joints=7`. Each stage keeps of them what it or a stage before it
reads, and of these what differs: so lines share what they have in common with each other and with
the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cached_property
from typing import Any, get_type_hints

from asma import backbones, methods
from asma.imports import Code
from asma.params import Config, Project, spelled, words
from asma.plan import ParamsError, Plan, closest

# Settings that change no result, and so stand in no plan of a run but in plan/machine.json.
MACHINE = {"run": ("device", "threads", "compile", "deterministic"), "parse": ("workers",)}
BY_BENCHMARK = "by_benchmark"  # the value stands beside it, under the plural of its key
SYSTEM = "asma_"  # and the mode: the recipes of two encoders
SCRATCH = "random"  # the recipe that is not pretrained
BEFORE = {
    "pretrain": (),
    "probe": ("pretrain",),
    "finetune": ("pretrain",),
    "fuse": ("pretrain", "finetune"),
    "distill": ("fuse",),
    "export": ("fuse", "distill"),
}


class Grid:
    """The runs that the parameters of a project ask for; `settings` has the Settings of each
    stage.
    """

    def __init__(self, project: Project, settings: Mapping[str, type[Any]], code: Code) -> None:
        self.project, self.classes, self.code = project, settings, code
        self.params = project.params

    @cached_property
    def table(self) -> dict[tuple[str, str, str], None]:
        """(stage, recipe, benchmark) of every run of the table that is of a recipe, in order."""
        recipes = {
            **dict.fromkeys(("pretrain", "probe", "finetune"), self.words("encoders")),
            "fuse": [SYSTEM + mode for mode in self.words("fuse.modes")],
            "distill": [SYSTEM + mode for mode in self.words("distill.teachers")],
            "export": [SYSTEM + mode for mode in self.words("export.teachers")],
        }
        benchmarks = self.words("benchmarks")
        return {(s, r, b): None for s, those in recipes.items() for r in those for b in benchmarks}

    def words(self, name: str) -> list[str]:
        """The words of one axis of the table: a list, or the keys of a mapping. Raises
        ParamsError.
        """
        value: Any = self.params
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if not isinstance(value, (list, Mapping)):
            raise ParamsError(f"params.yaml: {name}: found {value!r}, expected a list of words")
        return [str(word) for word in value]

    def dataset_of(self, benchmark: str) -> str:
        """The data set of a split. Raises ParamsError."""
        splits, datasets = self.params.get("splits") or {}, self.words("datasets")
        if benchmark in splits:
            if splits[benchmark] not in datasets:
                expected = closest(str(splits[benchmark]), datasets)
                where = f"params.yaml: splits.{benchmark}"
                raise ParamsError(f"{where}: found {splits[benchmark]!r}, expected {expected}")
            return str(splits[benchmark])
        known = sorted((p.stem for p in (self.project.root / "datasets").glob("*.yaml")), key=len)
        fitting = [name for name in known if benchmark.startswith(f"{name}_")]
        if not fitting:
            expected = closest(benchmark, [*map(str, splits)])
            raise ParamsError(f"params.yaml: benchmarks: found {benchmark!r}, expected {expected}")
        return fitting[-1]

    def config(self, recipe: str, benchmark: str) -> Config:
        """All values of a recipe on a benchmark."""
        return self.project.config(recipe, self.project.dataset(self.dataset_of(benchmark)).budget)

    def recipe(self, stage: str, recipe: str, benchmark: str) -> str:
        """The name of a recipe in a stage: of its changes those that make a difference there."""
        base, _, changes = recipe.partition("+")
        sections = self.sections(stage)
        own = self.config(base, benchmark)
        kept = {
            key: value
            for key, value in words(changes).items()
            if key.partition(".")[0] in sections and value_of(own, key, benchmark) != value
        }
        return f"{base}+{spelled(kept)}" if kept else base

    def sections(self, stage: str) -> set[str]:
        """The sections that a stage and the stages before it read."""
        own = {f.name for f in fields(self.classes[stage])}
        return own.union(*(self.sections(before) for before in BEFORE[stage]))

    def folder(self, stage: str, recipe: str, benchmark: str) -> str:
        """Where a run lies; changes that make no difference to the stage are left out."""
        name = self.recipe(stage, recipe, benchmark)
        top = "runs" if (stage, name, benchmark) in self.table else "runs/ablations"
        return f"{top}/{stage}/{name}@{benchmark}"

    def before(self, stage: str, recipe: str, benchmark: str) -> dict[str, tuple[str, str]]:
        """The runs that a run of a recipe reads: (stage, recipe) by the name they have in its
        plan.
        """
        if stage in ("probe", "finetune"):
            needed = {"pretrained": ("pretrain", recipe)}
        elif stage == "fuse":
            config = self.config(recipe, benchmark)
            changes = recipe.partition("+")[2]
            needed = {
                place: (
                    config.get("fuse.mode"),
                    "+".join(filter(None, (config.get(f"fuse.{place}"), changes))),
                )
                for place in ("first", "second")
            }
        elif stage in ("distill", "export"):
            needed = {"fused": ("fuse", recipe)}
            if stage == "export":
                needed["distilled"] = ("distill", recipe)
        else:
            needed = {}
        return {name: (own, self.recipe(own, r, benchmark)) for name, (own, r) in needed.items()}

    def lines(self, wanted: Iterable[tuple[str, str, str]]) -> list[Plan]:
        """The runs that some (stage, recipe, benchmark) stand on, themselves too, that the table
        has not.
        """
        found: dict[tuple[str, str, str], None] = {}

        def add(stage: str, recipe: str, benchmark: str) -> None:
            name = self.recipe(stage, recipe, benchmark)
            for own, needed in self.before(stage, name, benchmark).values():
                add(own, needed, benchmark)
            found.setdefault((stage, name, benchmark))

        for one in wanted:
            add(*one)
        return [self.run(*one) for one in found if one not in self.table]

    def run(self, stage: str, recipe: str, benchmark: str, out: str | None = None) -> Plan:
        """The plan of one run of a recipe. Raises ParamsError."""
        name = self.recipe(stage, recipe, benchmark)
        config = self.config(name, benchmark)
        reads = {"benchmark": f"data/benchmarks/{benchmark}.h5"}
        for place, (own, needed) in self.before(stage, name, benchmark).items():
            reads[place] = self.folder(own, needed, benchmark)
        like = name.partition("+")[0]
        where = out or self.folder(stage, name, benchmark)
        axes = {"recipe": name, "benchmark": benchmark}
        return self.plan(stage, axes, config, reads, where, benchmark=benchmark, like=like)

    def plan(
        self,
        stage: str,
        axes: dict[str, str],
        config: Config,
        reads: dict[str, str],
        out: str,
        *,
        benchmark: str = "",
        dataset: str = "",
        given: Mapping[str, Any] | None = None,
        like: str = "",
    ) -> Plan:
        """The plan of any run: the sections of its stage, by `config` or as they are `given`."""
        given = dict(given or {})
        settings = {
            name: _plain(given[name] if name in given else config.section(name, cls))
            for name, cls in get_type_hints(self.classes[stage]).items()
        }
        settings = without_machine(settings)
        held = [text for key, text in config.held.items() if _shown(key, settings)]
        dataset = dataset or (self.dataset_of(benchmark) if benchmark else "")
        code = self._code(stage, settings, dataset)
        return Plan(stage, axes, like, reads, out, settings, held, code)

    def _code(self, stage: str, settings: Mapping[str, Any], dataset: str) -> dict[str, str]:
        """Digests of what a run imports: its script's closure, its own method and backbone, its
        layout.
        """
        script = f"stages/{stage}.py"
        needed = self.code.closure(script)
        files = [
            self.code.path(table[settings[section][key]].partition(":")[0])
            for section, key, room, table in (
                ("pretrain", "method", "methods", methods.METHODS),
                ("encoder", "backbone", "backbones", backbones.BACKBONES),
            )
            if section in settings and f"asma/{room}/__init__.py" in needed
        ]
        layouts = []
        if dataset and "asma/skeleton.py" in needed:
            layouts = [f"asma/layouts/{self.project.dataset(dataset).layout}.yaml"]
        return self.code.digests(script, *files, data=layouts)

    def rows(self) -> Iterator[Plan]:
        """Every run of the table but its last stages, in the order of the pipeline."""
        plain = self.project.config("")
        raw = {"ntu": "data/raw/demo_ntu", "pku": "data/raw/demo_pku"}
        yield self.plan("synthesize", {}, plain, raw, "runs/synthesize")
        for name in self.words("datasets"):
            known = self.project.dataset(name)
            config = self.project.config("", known.budget)
            files = {kind: f"data/{kind}/{name}.h5" for kind in ("recordings", "clips", "motion")}
            told = {"dataset": {**asdict(known), "splits": {}}}
            for stage, reads in (
                ("parse", {"raw": f"data/raw/{name}", "recordings": files["recordings"]}),
                ("prepare", {"recordings": files["recordings"], "clips": files["clips"]}),
                ("motion", {"clips": files["clips"], "motion": files["motion"]}),
            ):
                out = f"runs/{stage}/{name}"
                yield self.plan(
                    stage, {"dataset": name}, config, reads, out, dataset=name, given=told
                )
        for split in self.words("splits"):
            yield self.split(split)
        for stage, recipe, benchmark in self.table:
            yield self.run(stage, recipe, benchmark)
        for name, ends in (self.params.get("transfers") or {}).items():
            yield self.transfer(str(name), ends)
        for stage in ("baseline", "efficiency", "illustrate"):
            for benchmark in self.words("benchmarks"):
                reads = {"benchmark": f"data/benchmarks/{benchmark}.h5"}
                out, given = f"runs/{stage}/{benchmark}", self._shown(benchmark)
                config = self.config("", benchmark)
                axes = {"benchmark": benchmark}
                yield self.plan(stage, axes, config, reads, out, benchmark=benchmark, given=given)

    def split(self, name: str, out: str | None = None) -> Plan:
        """The plan of one split, `<dataset>_<split>`. Raises ParamsError."""
        dataset = self.dataset_of(name)
        known = self.project.dataset(dataset)
        own = name.removeprefix(f"{dataset}_")
        if own not in known.splits:
            expected = closest(own, sorted(known.splits)) or "none"
            raise ParamsError(
                f"datasets/{dataset}.yaml: splits: found no {own!r}, expected {expected}"
            )
        reads = {kind: f"data/{kind}/{dataset}.h5" for kind in ("clips", "motion")}
        told = {"dataset": {**asdict(known), "splits": {own: asdict(known.splits[own])}}}
        where = out or f"data/benchmarks/{name}.h5"
        config = self.project.config("", known.budget)
        return self.plan(
            "split", {"split": name}, config, reads, where, dataset=dataset, given=told
        )

    def transfer(self, name: str, ends: Any) -> Plan:
        """The plan of one transfer. Raises ParamsError."""
        if not isinstance(ends, Mapping) or not {"source", "target"} <= set(ends):
            where = f"params.yaml: transfers.{name}"
            raise ParamsError(f"{where}: found {ends!r}, expected a source and a target")
        source, target = str(ends["source"]), str(ends["target"])
        config = self.config("", target)
        reads = {place: f"data/benchmarks/{ends[place]}.h5" for place in ("source", "target")}
        encoders = {place: config.get(f"fuse.{place}") for place in ("first", "second")}
        if config.get("transfer.scratch"):
            encoders["scratch"] = SCRATCH
        for place, recipe in encoders.items():
            self._in_the_table("pretrain", recipe, source, f"transfers.{name}")
            reads[f"pretrained_{place}"] = self.folder("pretrain", recipe, source)
        out = f"runs/transfer/{name}"
        return self.plan("transfer", {"transfer": name}, config, reads, out, benchmark=target)

    def _in_the_table(self, stage: str, recipe: str, benchmark: str, whose: str) -> None:
        """Raise ParamsError unless a run that another one reads is there."""
        if (stage, recipe, benchmark) not in self.table:
            encoders = ", ".join(self.words("encoders"))
            found = f"found {encoders}, expected {recipe!r} among them for {whose} on {benchmark}"
            raise ParamsError(f"params.yaml: encoders: {found}")

    def _shown(self, benchmark: str) -> dict[str, Any]:
        """What the figures are told of the table."""
        folders = {
            f"{stage}/{recipe}": self.folder(stage, recipe, benchmark)
            for stage, recipe, own in self.table
            if own == benchmark and stage != "export"
        }
        return {"encoders": self.words("encoders"), "folders": folders}


def value_of(config: Config, key: str, benchmark: str) -> Any:
    """A value by its dotted key, where it says `by_benchmark` that of the benchmark."""
    value = config.get(key)
    if value == BY_BENCHMARK:
        named = config.get(f"{key}s")
        value = named.get(benchmark, named["default"])
    return value


def _shown(key: str, settings: Mapping[str, Any]) -> bool:
    """Whether a dotted key stands in the settings of a run."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def without_machine(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections without the settings in MACHINE."""
    return {
        section: {k: v for k, v in value.items() if k not in MACHINE[section]}
        if section in MACHINE
        else value
        for section, value in values.items()
    }


def machine(config: Config) -> dict[str, Any]:
    """What plan/machine.json holds: the settings in MACHINE."""
    return {
        section: {key: config.get(f"{section}.{key}") for key in keys}
        for section, keys in MACHINE.items()
    }


def check(grid: Grid) -> None:
    """Raise ParamsError where the table names what there is not."""
    seed = grid.params.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ParamsError(f"params.yaml: seed: found {seed!r}, expected an integer of 0 or more")
    for stage, recipe, benchmark in grid.table:
        if benchmark not in grid.words("splits"):
            expected = closest(benchmark, grid.words("splits"))
            raise ParamsError(f"params.yaml: benchmarks: found {benchmark!r}, expected {expected}")
        if stage == "fuse":
            config = grid.config(recipe, benchmark)
            for place in ("first", "second"):
                grid._in_the_table(
                    "pretrain", config.get(f"fuse.{place}"), benchmark, f"fuse.{place}"
                )
    for axis, known in (
        ("distill.teachers", "fuse.modes"),
        ("export.teachers", "distill.teachers"),
        ("export.streams", "streams"),
    ):
        for word in grid.words(axis):
            if word not in grid.words(known):
                expected = closest(word, grid.words(known))
                raise ParamsError(
                    f"params.yaml: {axis}: found {word!r}, expected {expected} ({known})"
                )
