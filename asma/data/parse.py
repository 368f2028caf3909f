"""Parse a whole data set: raw files → one file of recordings, in parallel and in constant memory.

A format is a row of FORMATS: how to survey a folder (names only) and how to read one job. The jobs
are spread over processes in small batches, of which only a few are under way at a time, and come
back in order; what they give is written at once. All bad files are named together, at the end.

This process writes, which is a third of all work, and it does not wait: while the next batch is
not there it reads another one itself. So no core is idle, however reading and writing compare, and
none while processes start.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asma.data import axes, folder, ntu, pku, posture
from asma.data.counts import LISTS, published_counts
from asma.data.recordings import Recording, RecordingError, shown, write
from asma.data.survey import Reading, Source, Survey
from asma.progress import progress as show
from asma.skeleton import Skeleton

ON_ERROR = ("stop", "skip")
IMPLAUSIBLE = ("refuse", "warn")
SHOWN = 50  # bad files an error lists before it points to a file
AHEAD = 4  # batches a core that are under way elsewhere: more than is read while a block is written
MOST = 32  # shelves: 64 MB, as much as a container shares by default
# bytes kept for what a batch gave: 16 files of NTU RGB+D are 0.5 MB, a video of PKU-MMD 1 to 2 MB
SHELF = 2**21


@dataclass(frozen=True)
class Parse:
    """Section `parse` of the parameters: stop at bad files or skip them; cores, 0 for all."""

    on_error: str = "stop"
    workers: int = 0


@dataclass(frozen=True)
class Format:
    """How the raw files of a format are found and read.

    `batch` jobs go to a process at a time; `few` jobs are not worth a second process; `expects`
    names the files for a user whose folder has none; `missing` is the official list of incomplete
    samples, if any; `axes` are those of its positions, None where the set says.
    """

    survey: Callable[[Path, Source], Survey]
    read: Callable[[Any], Reading]
    batch: int
    few: int
    expects: str
    source: str
    missing: str | None = None
    axes: str | None = "y up, in metres"


FORMATS: dict[str, Format] = {
    "ntu": Format(
        ntu.survey,
        ntu.read,
        batch=16,
        few=1024,
        expects="files SsssCcccPpppRrrrAaaa.skeleton",
        source="NTU RGB+D .skeleton files",
        missing="ntu_missing",
    ),
    "pku": Format(
        pku.survey,
        pku.read,
        batch=1,
        few=24,
        expects="videos XXXX-V.txt or AxxNyy-V.txt and their labels",
        source="PKU-MMD text files",
    ),
    "folder": Format(
        folder.survey,
        folder.read,
        batch=16,
        few=1024,
        expects="index.csv and the files it names",
        source="text files named by an index.csv",
        axes=None,
    ),
}


class RecordingErrors(ValueError):
    """All bad files of a data set: `errors` has each, the message the first and where the rest is
    listed.
    """

    def __init__(self, errors: list[RecordingError], listing: Path | None = None) -> None:
        super().__init__(errors, listing)
        self.errors = errors
        self.listing = listing

    def __str__(self) -> str:
        count = len(self.errors)
        files = "file" if count == 1 else "files"
        lines = [f"found {count} bad {files}; expected none (or parse.on_error: skip)"]
        lines += [f"  {error}" for error in self.errors[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  … and {count - SHOWN} more, all listed in {self.listing}")
        return "\n".join(lines)


@dataclass
class Report:
    """What a data set turned out to hold.

    `bodies` counts frames by the number of bodies in them, `nan_frames` those with a coordinate
    that is no finite number; `nan` names their recordings and `bodiless` those without a body in
    any frame. `excluded` were named by the official list; `left_out` says why for every other
    recording that was set aside; `bad` are the faults that `skip` passed over; `notes` what a
    person should know. `published` is the number of recordings that the literature counts in this
    set, None where it says nothing.
    """

    dataset: str
    recordings: int = 0
    frames: int = 0
    nan_frames: int = 0
    classes: int = 0
    bodies: Counter[int] = field(default_factory=Counter)
    excluded: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    nan: list[str] = field(default_factory=list)
    bodiless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    published: int | None = None

    def count(self, recording: Recording) -> None:
        """Take one more recording into account."""
        self.recordings += 1
        self.frames += recording.length
        per_frame = np.bincount(recording.frame, minlength=recording.length)
        self.bodies.update(per_frame.tolist())
        if not len(recording.frame):
            self.bodiless.append(recording.name)
        spoilt = ~np.isfinite(recording.xyz).all(axis=(1, 2))
        if spoilt.any():
            self.nan.append(recording.name)
            self.nan_frames += len(np.unique(recording.frame[spoilt]))

    def figures(self) -> dict[str, float]:
        """The counts alone."""
        figures: dict[str, float] = {
            "recordings": self.recordings,
            "frames": self.frames,
            "nan_frames": self.nan_frames,
            "classes": self.classes,
            "excluded": len(self.excluded),
            "left_out": len(self.left_out),
            "bad": len(self.bad),
        }
        if self.published is not None:
            figures["published"] = self.published
        return figures

    def metrics(self) -> dict[str, Any]:
        """Everything, ready for JSON; the same for the same raw files."""
        return {
            "stage": "parse",
            "dataset": self.dataset,
            **self.figures(),
            "frames_by_bodies": {
                str(bodies): self.bodies[bodies] for bodies in sorted(self.bodies)
            },
            "names": {
                "excluded": self.excluded,
                "left_out": dict(sorted(self.left_out.items())),
                "bad": self.bad,
                "nan": self.nan,
                "bodiless": self.bodiless,
            },
            "notes": self.notes,
        }

    def summary(self) -> str:
        """A few lines for a person, with the published count beside what was found."""
        found = (
            f"{self.dataset}: {self.recordings} recordings, "
            f"{self.frames} frames, {self.classes} classes"
        )
        lines = [found]
        if self.published is not None:
            gap = self.published - self.recordings
            verdict = (
                "all are here"
                if not gap
                else f"{gap} fewer here"
                if gap > 0
                else f"{-gap} more here"
            )
            lines.append(f"published: {self.published} recordings; {verdict}")
        bodies = ", ".join(f"{count} with {b}" for b, count in sorted(self.bodies.items()))
        lines.append(f"frames by bodies: {bodies}")
        for title, names in (
            (f"with a coordinate that is no finite number, in {self.nan_frames} frames", self.nan),
            ("without a body in any frame", self.bodiless),
        ):
            if names:
                lines.append(f"recordings {title}: {len(names)}: {shown(names)}")
        if self.excluded:
            lines.append(
                f"excluded by the official list of incomplete samples: {len(self.excluded)}"
            )
        reasons = [f"{name}: {reason}" for name, reason in sorted(self.left_out.items())]
        for title, entries in (
            ("left out", reasons),
            ("bad files skipped", self.bad),
            ("note", self.notes),
        ):
            if entries:
                lines.append(f"{title}: {len(entries)}")
                lines += [f"  {entry}" for entry in entries[:10]]
            if len(entries) > 10:
                lines.append(f"  … and {len(entries) - 10} more")
        return "\n".join(lines)


def parse(
    raw: Path,
    out: Path,
    *,
    dataset: str,
    format: str,
    layout: str,
    joints: int,
    bodies: int = 2,
    classes: list[str] | None = None,
    class_count: int | None = None,
    missing: str = "none",
    slicing: str = "one_based_inclusive",
    up: str = "y",
    unit: str = "m",
    implausible: str = "refuse",
    skeleton: Skeleton | None = None,
    on_error: str = "stop",
    workers: int = 0,
    progress: bool = True,
) -> Report:
    """Read all raw files below `raw` and write them to `out` as recordings.

    `joints` (V) is the layout's; `bodies` (M) the most a recording of format `folder` may hold;
    `classes` names in label order (None: from the set) and `class_count` how many of them the set
    has (None: all); `missing` "official" leaves out the samples that the set's owners list as
    incomplete; `workers` is how many cores are used, 0 for all, 1 for this process alone. The file
    written does not depend on `workers`. `up` and `unit` are the axes and the unit of positions of
    format `folder`; what a sample says against them, by the layout's `skeleton` (None: nothing is
    checked), is an error where it is certain and `implausible` is "refuse", else a note.

    Raises RecordingErrors naming all bad files, and then writes nothing; with on_error "skip" they
    are passed over and named in the report. Raises ValueError for a word that is none of the
    options, RecordingError where the folder holds nothing of the format, Implausible, and
    RuntimeError if a process is killed.
    """
    _one_of("format", format, FORMATS)
    _one_of("on_error", on_error, ON_ERROR)
    _one_of("missing", missing, ("none", "official"))
    _one_of(f"datasets/{dataset}.yaml: up", up, axes.TURNS)
    _one_of(f"datasets/{dataset}.yaml: unit", unit, axes.UNITS)
    _one_of(f"datasets/{dataset}.yaml: implausible", implausible, IMPLAUSIBLE)
    rules = FORMATS[format]
    if rules.axes and (up, unit) != ("y", "m"):
        found = f"datasets/{dataset}.yaml: found up: {up}, unit: {unit}"
        raise ValueError(f"{found}; expected neither: format {format} has {rules.axes}")
    if missing == "official" and rules.missing is None:
        raise ValueError(
            f"missing: found 'official'; expected 'none': format {format} has no official list"
        )
    excluded = names_in(rules.missing) if missing == "official" and rules.missing else []
    listed = None if classes is None else tuple(classes)
    source = Source(joints, bodies, listed, class_count, frozenset(excluded), slicing, up, unit)
    survey = rules.survey(raw, source)
    if not survey.jobs and not survey.errors:
        found = "; ".join(["no recording to read", *survey.notes])
        raise RecordingError(raw, None, found, rules.expects)

    errors = list(survey.errors)
    left_out = dict(survey.left_out)
    report = Report(
        dataset,
        classes=len(survey.classes),
        excluded=survey.excluded,
        left_out=left_out,
        notes=list(survey.notes),
        published=published_counts().get(dataset, {}).get("total"),
    )

    cores = workers or _cores()
    processes = 1 if not workers and len(survey.jobs) <= rules.few else cores
    sample = posture.Sample()

    def recordings() -> Generator[Recording]:
        with closing(_readings(rules, survey.jobs, processes)) as readings:
            count = len(survey.jobs)
            seen = show(readings, f"parse {dataset}", count, "file") if progress else readings
            for reading in seen:
                if isinstance(reading, RecordingError):
                    errors.append(reading)
                    continue
                left_out.update(reading.left_out)
                errors.extend(reading.errors)
                report.notes.extend(reading.notes)
                for recording in reading.recordings:
                    report.count(recording)
                    sample.count(recording)
                    yield recording
        if errors and (on_error == "stop" or not report.recordings):
            raise RecordingErrors(errors, listing)
        if not report.recordings:
            found = f"only empty recordings: {shown(sorted(left_out))}"
            raise RecordingError(raw, None, found, "at least one with a body")
        if skeleton:
            findings = posture.judge(sample, skeleton, up, unit)
            if implausible == "refuse" and any(finding.certain for finding in findings):
                raise posture.Implausible(raw, dataset, findings)
            report.notes.extend(str(finding) for finding in findings)

    listing = out.with_suffix(".bad.txt")
    listing.unlink(missing_ok=True)
    told = {
        "bodies": bodies,
        "class_count": class_count,
        "classes": "given" if classes is not None else "from the set",
        "missing": missing,
        "on_error": on_error,
        "slicing": slicing,
        "unit": unit,
        "up": up,
    }
    try:
        with closing(recordings()) as read:
            write(
                out,
                read,
                classes=survey.classes,
                dataset=dataset,
                format=format,
                layout=layout,
                joints=joints,
                absent=survey.absent,
                parameters=told,
                source=rules.source,
                threads=cores,
            )
    except RecordingErrors as error:
        if len(error.errors) > SHOWN:
            listing.write_text("".join(f"{bad}\n" for bad in error.errors), encoding="utf-8")
        raise
    report.bad = [str(error) for error in errors]
    return report


def names_in(name: str) -> list[str]:
    """The names in one of the project's lists, `asma/data/lists/<name>.txt`: a name a line, # for
    comments.

    Raises ValueError if there is no such list.
    """
    path = LISTS / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in LISTS.glob("*.txt")))
        raise ValueError(f"list: found {name!r}; expected one of {known}")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def class_list(name: str | None, count: int | None = None) -> list[str] | None:
    """The first `count` class names (all for None) of one of the project's lists; None for no list.

    Raises ValueError if the list is shorter.
    """
    if name is None:
        return None
    names = names_in(name)
    if count is not None and count > len(names):
        raise ValueError(
            f"class_count: found {count}; expected at most the {len(names)} of list {name}"
        )
    return names[:count]


def _one_of(key: str, value: str, known: Any) -> None:
    if value not in known:
        raise ValueError(f"{key}: found {value!r}; expected one of {', '.join(known)}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Result = Reading | RecordingError


def _attempt(read: Callable[[Any], Reading], jobs: list[Any]) -> list[Result]:
    results: list[Result] = []
    for job in jobs:
        try:
            results.append(read(job))
        except RecordingError as error:
            results.append(error)
    return results


def _readings(rules: Format, jobs: list[Any], processes: int) -> Generator[Result]:
    """What each job gives, in order, from so many processes, this one included; a few batches each
    are held.

    Raises RuntimeError if one of them is killed or does not start.
    """
    if processes == 1:
        for job in jobs:
            yield from _attempt(rules.read, [job])
        return
    with closing(_Readers(rules.read, processes - 1)) as readers:
        pending = readers.pending
        try:
            for begin in range(0, len(jobs), rules.batch):
                while pending and (pending[0].done() or len(pending) >= 2 * readers.shelves):
                    yield from readers.oldest()
                readers.begin(jobs[begin : begin + rules.batch])
            while pending:
                yield from readers.oldest()
        except BrokenProcessPool as error:
            found = "found a process that was killed or did not start"
            expected = "expected it to read until all files are read"
            remedy = "if memory ran out, as the system's log says, set parse.workers to fewer cores"
            raise RuntimeError(f"parse.workers: {found}; {expected} ({remedy})") from error


@dataclass
class _Batch:
    """A batch on its way to a shelf, or what this process found when it read it itself."""

    shelf: int = 0
    future: Future[_Told] | None = None
    given: list[Result] = field(default_factory=list)

    def done(self) -> bool:
        return self.future is None or self.future.done()


class _Readers:
    """Processes that read batches ahead of this one, which takes them in order and reads where
    they are busy.

    A pipe holds 64 kB: a process that sends more waits until this one, which has other work,
    empties the pipe, some ten times a batch. So arrays are put on a shelf, a piece of memory that
    all share, and only the rest, some hundred bytes a file, goes through the pipe. `pending` are
    the batches begun, the oldest first.
    """

    def __init__(self, read: Callable[[Any], Reading], count: int) -> None:
        # Not fork: the progress bar and MLflow run threads in this process, and a fork of threads
        # may hang.
        method = (
            "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        )
        context = multiprocessing.get_context(method)
        self.read = read
        self.pending: deque[_Batch] = deque()
        self.shelves = min(AHEAD * (count + 1), MOST)
        self.free = list(range(self.shelves))
        shared = context.RawArray("B", self.shelves * SHELF)
        self.shared = memoryview(shared).cast("B")
        self.pool = ProcessPoolExecutor(count, context, initializer=_serve, initargs=(shared,))
        # A process imports for a third of a second before it reads; empty batches wait for that,
        # not those of files.
        self.first = [self.pool.submit(_read_to_shelf, read, [], 0) for _ in range(count)][0]

    def awake(self) -> bool:
        return self.first.done()

    def begin(self, jobs: list[Any]) -> None:
        """Have a batch read elsewhere, or read it here where all others are busy or still
        starting.
        """
        if self.free and self.awake():
            shelf = self.free.pop()
            self.pending.append(
                _Batch(shelf, self.pool.submit(_read_to_shelf, self.read, jobs, shelf))
            )
        else:
            self.pending.append(_Batch(given=_attempt(self.read, jobs)))

    def oldest(self) -> list[Result]:
        """Take the oldest batch, as soon as it is there."""
        batch = self.pending.popleft()
        if batch.future is None:
            return batch.given
        pickled, sizes = batch.future.result()
        start = batch.shelf * SHELF
        copy = memoryview(bytearray(self.shared[start : start + sum(sizes)]))
        self.free.append(batch.shelf)
        ends = np.cumsum(sizes, dtype=int).tolist()
        arrays = [copy[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        results: list[Result] = pickle.loads(pickled, buffers=arrays)
        return results

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


# what a batch gave, pickled but for its arrays, and how many bytes each of them has
_Told = tuple[bytes, list[int]]
_shelves = memoryview(b"")  # in a process that reads


def _serve(shelves: Any) -> None:
    """Begin as a process that reads: Ctrl-C, which reaches all, is for the one that writes; end if
    that one dies.
    """
    global _shelves
    _shelves = memoryview(shelves).cast("B")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = multiprocessing.parent_process()
    assert writer is not None

    def follow() -> None:
        writer.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _read_to_shelf(read: Callable[[Any], Reading], jobs: list[Any], shelf: int) -> _Told:
    """Read a batch in a process of its own; what does not fit the shelf goes through the pipe,
    which takes longer.
    """
    results = _attempt(read, jobs)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(results, 5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    sizes = [array.nbytes for array in arrays]
    if sum(sizes) > SHELF:
        return pickle.dumps(results, 5), []
    at = shelf * SHELF
    for array in arrays:
        _shelves[at : at + array.nbytes] = array
        at += array.nbytes
    return pickled, sizes
