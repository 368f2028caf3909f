"""Raw files → positions: the reader beside one that goes line by line, on one core and on all, and
its memory.

The files are of the size and look of genuine ones: 7 significant digits, 190 kB, every file
another, since the processor soon knows by heart the digits of a file that it reads over and over.
A whole parse needs thousands of files: there they are links to some hundred. All files are in the
page cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from asma.data import ntu, text
from benchmarks.measure import Result, compare, seconds, threads

JOINTS = 25
# files of a whole parse; NTU RGB+D 60 has 56,578, and the start of the processes weighs a seventh
WHOLE = 8000
BODY_KEYS = (
    "bodyID", "clipedEdges", "handLeftConfidence", "handLeftState", "handRightConfidence",
    "handRightState", "isResticted", "leanX", "leanY", "trackingState",
)  # fmt: skip
JOINT_KEYS = (
    "x", "y", "z", "depthX", "depthY", "colorX", "colorY",
    "orientationW", "orientationX", "orientationY", "orientationZ", "trackingState",
)  # fmt: skip


def plain_ntu(path: Path) -> np.ndarray:
    """A .skeleton file line by line into dictionaries, then joint by joint into an array (3, T,
    25, 2) float32.

    As the published readers do it, and like them it reads ids as floating point and keeps the
    first two bodies.
    """
    with path.open() as file:
        frames = []
        for _ in range(int(file.readline())):
            bodies = []
            for _ in range(int(file.readline())):
                body = {
                    key: float(word)
                    for key, word in zip(BODY_KEYS, file.readline().split(), strict=True)
                }
                joints = []
                for _ in range(int(file.readline())):
                    words = file.readline().split()
                    joints.append(
                        {key: float(word) for key, word in zip(JOINT_KEYS, words, strict=True)}
                    )
                bodies.append((body, joints))
            frames.append(bodies)
    xyz = np.zeros((3, len(frames), JOINTS, 2), np.float32)
    for t, bodies in enumerate(frames):
        for m, (_, joints) in enumerate(bodies[:2]):
            for v, joint in enumerate(joints):
                xyz[:, t, v, m] = [joint["x"], joint["y"], joint["z"]]
    return xyz


def plain_table(path: Path) -> np.ndarray:
    """A text of numbers line by line, (lines, width) float32."""
    with path.open() as file:
        return np.array([[float(word) for word in line.split()] for line in file], np.float32)


def ours_ntu(path: Path) -> np.ndarray:
    """The same file as all rows of the recording, (R, 25, 3) float32."""
    (recording,) = ntu.read(ntu.Job(path, path.stem, 0, {})).recordings
    return recording.xyz


def ours_table(path: Path) -> np.ndarray:
    """The same text, (lines, 150) float32."""
    return text.table(path, [6 * JOINTS], "2 bodies x 25 joints x 3")


def ntu_text(seed: int, frames: int, bodies: int = 1) -> str:
    """A .skeleton file of bodies that drift, in the digits that a Kinect's recorder writes: 7 that
    count.
    """
    rng = np.random.default_rng(seed)
    xyz = rng.normal((0, 0, 3.2), 0.4, (bodies, JOINTS, 3)) + 0.01 * rng.normal(
        size=(frames, bodies, JOINTS, 3)
    ).cumsum(0)
    x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    pixels = np.stack(
        [256 + 365 * x / z, 208 - 365 * y / z, 960 + 1081 * x / z, 540 - 1081 * y / z], -1
    )
    turn = rng.normal(size=(frames, bodies, JOINTS, 4))
    turn /= np.linalg.norm(turn, axis=-1, keepdims=True)
    turn[:, :, -5:] = 0  # hand tips and thumbs have none
    joints = np.concatenate([xyz, pixels, turn], -1).astype(np.float32)
    line = " ".join(["%.7g"] * 11) + " 2"
    lines = [str(frames)]
    for frame in joints:
        lines.append(str(bodies))
        for m, body in enumerate(frame):
            lines.append(
                f"{72057594037931101 + m} 0 1 1 1 1 0 %.7g %.7g 2" % tuple(0.1 * rng.normal(size=2))
            )
            lines.append(str(JOINTS))
            lines += [line % tuple(joint) for joint in body.tolist()]
    return "\n".join(lines) + "\n"


def pku_text(seed: int, frames: int) -> str:
    """A video of PKU-MMD: 150 numbers a line, the second body there a third of the time."""
    xyz = np.random.default_rng(seed).normal(size=(frames, 2, 3 * JOINTS)).astype(np.float32)
    xyz[: 2 * frames // 3, 1] = 0
    line = " ".join(["%.7g"] * (6 * JOINTS)) + "\n"
    return "".join(line % tuple(row) for row in xyz.reshape(frames, -1).tolist())


def write(folder: Path, count: int, make: Callable[[int], str], end: str = "\n") -> list[Path]:
    """`count` files, each another."""
    folder.mkdir()
    paths = [folder / f"S001C001P001R001A{k + 1:03}.skeleton" for k in range(count)]
    for seed, path in enumerate(paths):
        path.write_text(make(seed), newline=end)
    return paths


def link(folder: Path, paths: list[Path], count: int) -> Path:
    """A folder of `count` recordings that are links to a few files."""
    folder.mkdir()
    for k in range(count):
        name = (
            f"S{k // 7200 + 1:03}C{k % 3 + 1:03}P{k // 3 % 40 + 1:03}"
            f"R{k // 2400 % 3 + 1:03}A{k // 120 % 20 + 1:03}"
        )
        os.link(paths[k % len(paths)], folder / f"{name}.skeleton")
    return folder


def all_of(read: Callable[[Path], object], paths: list[Path]) -> None:
    for path in paths:
        read(path)


def one_core(
    case: str, paths: list[Path], ours: Callable[[Path], object], plain: Callable[[Path], object]
) -> Result:
    """Files a second of two readers, and of a program that reads the bytes and looks at none."""
    with threads(1):
        times = compare(partial(all_of, ours, paths), partial(all_of, plain, paths))
        bytes_only = min(seconds(partial(all_of, Path.read_bytes, paths)) for _ in range(5))
        return times.result(
            "parsing", case, per_second=len(paths), unit="files/s", limit=len(paths) / bytes_only
        )


PARSE = """
import sys
from pathlib import Path
from asma.data import parse

for line in sys.stdin:
    raw, workers, out = line.rstrip("\\n").split("\\t")
    told = dict(dataset="x", format="ntu", layout="kinect_v2", joints=25, progress=False)
    parse.parse(Path(raw), Path(out), workers=int(workers), **told)
    print("done", flush=True)
"""


class Parser:
    """Whole parses in a process of its own, `cores` of them to be used and no other.

    It imports what the stage does: where the main module imports torch, every process that reads
    does too.
    """

    def __init__(self, folder: Path, cores: int) -> None:
        self.line = f"{folder}\t{cores}\t{folder.with_suffix(f'.{cores}.h5')}\n"
        told = [sys.executable, "-c", PARSE]
        self.process = subprocess.Popen(
            told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, sorted(os.sched_getaffinity(0))[:cores])

    def __call__(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(self.line)
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError(
                "found a parse that failed, as it says above; expected one that ends"
            )

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.communicate()


def all_cores(folder: Path, count: int, cores: int, rounds: int) -> Result:
    """A whole parse on all cores beside one that is kept on one, in turns; starting processes
    counts.
    """
    with Parser(folder, cores) as ours, Parser(folder, 1) as baseline:
        times = compare(ours, baseline, rounds)
    case = f"whole parse of {count:,} NTU files into one: {cores} cores, baseline ours on one"
    return replace(times.result("parsing", case, per_second=count, unit="files/s"), threads=cores)


MEMORY = """
import sys
from pathlib import Path
from asma.deployment import machine
from asma.data import parse

raw = Path(sys.argv[1])
told = dict(dataset=raw.name, format="ntu", layout="kinect_v2", joints=25, progress=False)
parse.parse(raw, raw.with_suffix(".h5"), workers=1, **told)
print(machine.peak_memory())
"""


def peak_memory(folder: Path, count: int) -> Result:
    """The most memory that a parse on one core, in a process of its own, ever held; the imports
    are 70 MB of it.
    """
    told = subprocess.run(
        [sys.executable, "-c", MEMORY, str(folder)], check=True, capture_output=True, text=True
    )
    case = f"peak memory of a whole parse of {count:,} NTU files of 190 kB"
    return Result(topic="parsing", case=case, unit="MB", ours=int(told.stdout) / 1e6)


def run(full: bool) -> list[Result]:
    """Readers on one core, whole parses on all, memory for n and 4n files."""
    distinct, few = (400, 2000) if full else (100, 500)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with TemporaryDirectory() as place:
        root = Path(place)
        ntu_files = write(root / "lf", distinct, lambda seed: ntu_text(seed, 63 + seed % 20))
        windows = write(
            root / "crlf", distinct, lambda seed: ntu_text(seed, 63 + seed % 20), "\r\n"
        )
        pku_files = write(root / "pku", distinct // 25, lambda seed: pku_text(seed, 2000))
        results = [
            one_core("NTU file of 190 kB, one core", ntu_files, ours_ntu, plain_ntu),
            one_core(
                "NTU file of 190 kB, lines end with CR LF, one core", windows, ours_ntu, plain_ntu
            ),
            one_core(
                "PKU-MMD video of 2,000 frames, 2.2 MB, one core",
                pku_files,
                ours_table,
                plain_table,
            ),
        ]
        small, large = link(root / "n", ntu_files, few), link(root / "4n", ntu_files, 4 * few)
        many = link(root / "many", ntu_files, WHOLE)
        results.append(all_cores(many, WHOLE, cores, 5 if full else 3))
        return [*results, peak_memory(small, few), peak_memory(large, 4 * few)]
