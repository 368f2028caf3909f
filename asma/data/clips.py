"""Recording → clip: float32 (C, T, V, M), bodies chosen, centred, resampled, turned to face the
camera.

RECIPES is the table of preparations that this literature uses; they do not mix. `frame50` is that
of AimCLR, CrosSCLR and PSTL, and so of ASMa.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from asma.data.recordings import PACKED, Recording, Store, of_slots, replacing, write_column
from asma.skeleton import Skeleton

BODY_CHOICES = ("listing", "tracked")
LONGER = ("centre", "head")
SHORT_TRACK = 11  # frames; a tracked body seen no longer is taken for a phantom
CHUNK = 16  # clips


@dataclass(frozen=True)
class Prepare:
    """Section `prepare` of the parameters."""

    recipe: str = "frame50"
    frames: int = 50  # T
    # m-th body listed in each frame, or bodies followed by their tracking id
    body_choice: str = "listing"
    max_frames: int = 300  # longer recordings are cut to this
    longer: str = "centre"  # which frames stay then: the middle (AimCLR on PKU-MMD) or the first

    def __post_init__(self) -> None:
        for key, known in (
            ("recipe", tuple(RECIPES)),
            ("body_choice", BODY_CHOICES),
            ("longer", LONGER),
        ):
            if getattr(self, key) not in known:
                raise ValueError(
                    f"prepare.{key}: found {getattr(self, key)!r}, "
                    f"expected one of {', '.join(known)}"
                )
        for key, least in (("frames", 2), ("max_frames", 1)):
            if getattr(self, key) < least:
                raise ValueError(
                    f"prepare.{key}: found {getattr(self, key)}, expected {least} or more"
                )


def bodies_by_listing(recording: Recording, M: int) -> np.ndarray:
    """(frames, V, 3, M): body m of a frame is the m-th listed in it, whoever that is; absent is
    zero.
    """
    place = _place_in_frame(recording.frame)
    xyz = np.zeros((recording.length, *recording.xyz.shape[1:], M), np.float32)
    kept = place < M
    xyz[recording.frame[kept], :, :, place[kept]] = recording.xyz[kept]
    return xyz


def bodies_by_track(recording: Recording, M: int) -> np.ndarray:
    """(frames, V, 3, M): body m is one tracking id throughout, the one that moves most first;
    absent is zero.

    Ids seen in SHORT_TRACK frames or fewer are left out unless there are no others. How much an id
    moves is the variance of its coordinates, summed over x, y and z.
    """
    seen = (recording.xyz != 0).any(axis=(1, 2))  # less empty slots
    recording = replace(
        recording, frame=recording.frame[seen], body=recording.body[seen], xyz=recording.xyz[seen]
    )
    ids, where, frames = np.unique(recording.body, return_inverse=True, return_counts=True)
    lasting = [i for i in range(len(ids)) if frames[i] > SHORT_TRACK] or list(range(len(ids)))
    moved = {i: _movement(recording.xyz[where == i]) for i in lasting}
    chosen = sorted(lasting, key=lambda i: (-moved[i], int(ids[i])))[:M]
    xyz = np.zeros((recording.length, *recording.xyz.shape[1:], M), np.float32)
    for m, i in enumerate(chosen):
        xyz[recording.frame[where == i], :, :, m] = recording.xyz[where == i]
    return xyz


def _movement(xyz: np.ndarray) -> float:
    known = xyz[np.isfinite(xyz).all(axis=(1, 2))]
    return float(known.var(axis=(0, 1)).sum()) if len(known) else -1.0


def _place_in_frame(frame: np.ndarray) -> np.ndarray:
    """Rows come frame by frame: the place of each row within its frame, from 0."""
    starts = (
        np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]]) if len(frame) else np.array([], int)
    )
    lengths = np.diff(np.r_[starts, len(frame)])
    return np.arange(len(frame)) - np.repeat(starts, lengths)


def fill_missing(xyz: np.ndarray) -> np.ndarray:
    """NaN coordinates take the last known value of the same joint, before that the first known;
    else 0.

    xyz (frames, V, 3, M). The public recipe has no rule for NaN: one would spoil the whole clip.
    """
    bad = ~np.isfinite(xyz)
    if not bad.any():
        return xyz
    # a body that is not there says nothing of where it will be
    absent = (xyz == 0).all(axis=(1, 2), keepdims=True)
    bad |= absent
    frames = np.arange(len(xyz))[:, None, None, None]
    last = np.maximum.accumulate(np.where(bad, -1, frames), axis=0)
    known = ~bad
    first = np.where(known.any(axis=0), known.argmax(axis=0), 0)[None]
    filled = np.take_along_axis(xyz, np.where(last < 0, first, last), axis=0)
    return np.where(np.isfinite(filled) & ~absent, filled, 0).astype(np.float32)


def valid_length(xyz: np.ndarray) -> int:
    """Number of frames in which body 0 is there, any of its joints off the origin: a count, not
    the last such frame.

    So a recording that begins with k empty frames loses its last k, as in the public code. That
    looks at joint 0 alone, which comes to the same with a Kinect's coordinates, but would find
    nobody where it is their origin.
    """
    return int((xyz[:, :, :, 0] != 0).any(axis=(1, 2)).sum())


def centre(xyz: np.ndarray, joint: int) -> np.ndarray:
    """Each body's coordinates in each frame less those of its centre joint: (frames, V, 3, M)."""
    return xyz - xyz[:, joint : joint + 1]


def resize(xyz: np.ndarray, T: int) -> np.ndarray:
    """Frames → T by linear interpolation with half-pixel centres, edges repeated: (frames, …) →
    (T, …).
    """
    L = len(xyz)
    position = np.clip((np.arange(T) + 0.5) * L / T - 0.5, 0, L - 1)
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, L - 1)
    share = (position - before).astype(np.float32).reshape(-1, *[1] * (xyz.ndim - 1))
    return xyz[before] * (1 - share) + xyz[after] * share


def align_yaw(xyz: np.ndarray, shoulders: tuple[int, int]) -> np.ndarray:
    """Turn each body in each frame about the vertical so that its shoulders are parallel to x: (T,
    V, 3, M).

    The angle is that between the horizontal part of the shoulder line and x; its sign is chosen
    once a body for the whole clip, by the sum of the line's z.
    """
    left, right = shoulders
    line = xyz[:, right] - xyz[:, left]  # (T, 3, M)
    vx, vz = line[:, 0], line[:, 2]
    angle = np.arccos(vx / (np.sqrt(vx**2 + vz**2) + 1e-4))  # (T, M)
    angle = np.where(vz.sum(axis=0) >= 0, -angle, angle)[:, None]  # (T, 1, M)
    x, y, z = xyz[:, :, 0], xyz[:, :, 1], xyz[:, :, 2]
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([x * c - z * s, y, x * s + z * c], axis=2).astype(np.float32)


def frame50(
    recording: Recording, skeleton: Skeleton, M: int, settings: Prepare
) -> np.ndarray | None:
    """One clip (C, T, V, M) by the recipe of AimCLR, CrosSCLR and PSTL; None for an empty
    recording.

    Bodies → at most `max_frames` → the first valid-length frames → centred → resized to T → yaw.
    """
    choose = bodies_by_listing if settings.body_choice == "listing" else bodies_by_track
    xyz = fill_missing(choose(recording, M))
    if len(xyz) > settings.max_frames:
        start = (len(xyz) - settings.max_frames) // 2 if settings.longer == "centre" else 0
        xyz = xyz[start : start + settings.max_frames]
    L = valid_length(xyz)
    if L == 0:
        return None
    xyz = align_yaw(resize(centre(xyz, skeleton.centre)[:L], settings.frames), skeleton.shoulders)
    return np.ascontiguousarray(xyz.transpose(2, 0, 1, 3))


def of_positions(xyz: np.ndarray, skeleton: Skeleton, M: int, settings: Prepare) -> np.ndarray:
    """One clip (C, T, V, M), as the stages make it, from joint positions xyz (frames, bodies, V,
    3) in metres.

    They are as in stored recordings, y up (`axes.upright` makes them so). A body that is not in a
    frame is all zeros there. Raises ValueError on another shape and where there is no body.
    """
    if xyz.ndim != 4 or xyz.shape[2:] != (len(skeleton), 3):
        wanted = f"(frames, bodies, {len(skeleton)}, 3) for {skeleton.name}"
        raise ValueError(f"positions: found shape {xyz.shape}, expected {wanted}")
    clip = RECIPES[settings.recipe](of_slots(xyz), skeleton, M, settings)
    if clip is None:
        raise ValueError("positions: found no body in any frame, expected at least one")
    return clip


RECIPES: dict[str, Callable[[Recording, Skeleton, int, Prepare], np.ndarray | None]] = {
    "frame50": frame50
}


def write(
    path: Path,
    store: Store,
    skeleton: Skeleton,
    bodies: int,
    settings: Prepare,
    reported: Callable[[Iterator[Recording]], Iterator[Recording]] = iter,
) -> list[str]:
    """Recordings → `data/clips/<dataset>.h5`, clip by clip; returns the names of empty recordings,
    left out.

    Raises ValueError where the recordings have another number of joints than the skeleton, or none
    is left.
    """
    if int(store.attrs["joints"]) != len(skeleton):
        raise ValueError(
            f"{store.path}: found {store.attrs['joints']} joints, "
            f"expected {len(skeleton)} ({skeleton.name})"
        )
    recipe, V = RECIPES[settings.recipe], len(skeleton)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: list[int] = []
    empty: list[str] = []
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        shape = (3, settings.frames, V, bodies)
        clips = file.create_dataset(
            "clips", (0, *shape), np.float32, maxshape=(None, *shape), chunks=(CHUNK, *shape),
            **PACKED,
        )  # fmt: skip
        block: list[np.ndarray] = []

        def flush() -> None:
            if block:
                clips.resize(len(clips) + len(block), axis=0)
                clips[-len(block) :] = np.stack(block)
                block.clear()

        for i, recording in enumerate(reported(iter(store))):
            clip = recipe(recording, skeleton, bodies, settings)
            if clip is None:
                empty.append(recording.name)
                continue
            kept.append(i)
            block.append(clip)
            if len(block) == CHUNK * 16:
                flush()
        flush()
        if not kept:
            raise ValueError(f"{store.path}: found no recording with a body, expected at least one")
        index = np.asarray(kept)
        write_column(file, "names", [store.names[i] for i in kept])
        file.create_dataset("labels", data=store.labels[index])
        file.create_dataset("lengths", data=store.lengths[index])
        write_column(file, "classes", store.classes)
        columns = file.create_group("columns")
        for name in sorted(store.columns):
            write_column(columns, name, store.columns[name][index].tolist())
        attrs: dict[str, Any] = {
            "kind": "clips",
            "dataset": store.attrs["dataset"],
            "layout": store.attrs["layout"],
            "absent": store.attrs.get("absent", "{}"),
            "recipe": settings.recipe,
            "bodies": bodies,
            "frames": settings.frames,
            "parameters": json.dumps(asdict(settings), sort_keys=True),
        }
        for key, value in attrs.items():
            file.attrs[key] = value
    return empty
