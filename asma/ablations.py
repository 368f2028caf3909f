"""Which runs the ablations ask for.   params.yaml, recipes/ablations.yaml → lines

A line is a recipe in a stage, what the report calls it and what was changed; the plan lays each
over benchmarks, streams and seeds. Nothing else lists them: the report reads them from its plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from asma.plan import ParamsError

FILE = "recipes/ablations.yaml"
DRAW = "finetune.draw"
# What a line of each list may change: the sections and keys that the stages read which are run
# again for it. Anything else would be trained for hours to come out as the default.
READ = {
    "pretrain": ("augment.", "mask.", "encoder.", "pretrain.", "run."),
    "labels": ("finetune.",),
    "fuse": ("fuse.alignment.", "fuse.fit.pretrain.", "probe."),
    "distill": ("distill.",),
}
# A line of `pretrain` may also change how the encoders are judged, beside their pretraining.
JUDGED = ("probe.", "fuse.alignment.", "fuse.fit.", "finetune.")
OF_VIEWS = "mask.score=view"  # with it pretraining measures motion itself, by the section `motion`
LISTS = ("benchmarks", "streams", "seeds", "masks", "pairs", "finetune", *READ)
PLACES = ("first", "second")


class Line(NamedTuple):
    """A recipe in a stage; `encoder` is whose row it is, `change` what differs from the row without
    one, and `draw` which labels were drawn, where it says so."""

    stage: str
    recipe: str
    encoder: str
    change: str = ""
    draw: str = ""


def lines(params: Mapping[str, Any], section: Mapping[str, Any]) -> list[Line]:
    """Every line of the section, each once. Raises ParamsError where its lists do not fit."""
    _check(params, section)
    return list(dict.fromkeys(_lines(params, section)))


def _lines(params: Mapping[str, Any], section: Mapping[str, Any]) -> Iterator[Line]:
    both = [params["fuse"][place] for place in PLACES]
    yield from (_line("pretrain", encoder) for encoder in section["masks"])
    yield from (_line("probe", encoder) for encoder in section["masks"])
    for change in section["pretrain"]:
        yield from (_line("probe", encoder, change=change) for encoder in both)
    yield from (_line("finetune", encoder) for encoder in ("random", *both))
    for change in section["finetune"]:
        yield from (_line("finetune", encoder, change=change) for encoder in both)
    for change in section["labels"]:
        yield from (_line("finetune", encoder, change=change) for encoder in ("random", both[0]))
    pairs = [[pair[place] for place in PLACES] for pair in section["pairs"]]
    yield from (_line("fuse", *pair, system="pretrain") for pair in pairs)
    for change in (*section["pretrain"], *section["fuse"]):
        yield _line("fuse", *both, system="pretrain", change=change)
    for change in ("", *section["finetune"]):
        yield _line("fuse", *both, system="finetune", change=change)
    for change in ("", *section["distill"]):
        for teacher in params["distill"]["teachers"]:
            yield _line("distill", system=teacher, change=change)


def _line(stage: str, *encoders: str, system: str = "", change: str = "") -> Line:
    """A line of one encoder, or of two as a system joins them."""
    pair = [f"fuse.{place}={one}" for place, one in zip(PLACES, encoders, strict=False)]
    base = [f"asma_{system}", *pair] if system else [*encoders]
    changes = change.split("+") if change else []
    draw = "".join(word.partition("=")[2] for word in changes if word.startswith(f"{DRAW}="))
    shown = "+".join(word for word in changes if not word.startswith(f"{DRAW}="))
    return Line(stage, "+".join([*base, *changes]), " + ".join(encoders) or "student", shown, draw)


def _check(params: Mapping[str, Any], section: Mapping[str, Any]) -> None:
    """Raise ParamsError on a list that is not there or does not fit the others."""

    def wrong(name: str, found: str, expected: str) -> ParamsError:
        return ParamsError(f"{FILE}: {name}: found {found}{expected}")

    for name in LISTS:
        if not isinstance(section.get(name), list):
            raise wrong(name, repr(section.get(name)), ", expected a list")
    needed = dict.fromkeys(("random", *(params["fuse"][place] for place in PLACES)), "`finetune`")
    for number, pair in enumerate(section["pairs"]):
        if not isinstance(pair, Mapping) or set(pair) != set(PLACES):
            raise wrong(f"pairs[{number}]", repr(pair), ", expected first and second")
        needed = dict.fromkeys(pair.values(), "a pair") | needed
    always = params["mask"].get("score") == OF_VIEWS.partition("=")[2]
    for name, keys in READ.items():
        for line in section[name]:
            words = str(line).split("+")
            of_views = name == "pretrain" and (always or OF_VIEWS in words)
            own = (*keys, *(("motion.",) if of_views else ()))
            judged = JUDGED if name == "pretrain" and any(w.startswith(own) for w in words) else ()
            for word in words:
                if not word.startswith((*own, *judged)):
                    known = ", ".join(f"{key}…" for key in own)
                    expected = f", which changes nothing there; expected {known}"
                    raise wrong(name, repr(word), expected)
    for change in section["finetune"]:
        if change not in section["pretrain"]:
            raise wrong("pretrain", f"no {change!r}", ", which `finetune` needs")
    for encoder, whose in needed.items():
        if encoder not in section["masks"]:
            raise wrong("masks", f"no {encoder!r}", f", which {whose} needs")
