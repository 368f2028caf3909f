"""The embedded demonstration: raw files of moving stick people, in the formats of NTU RGB+D and
PKU-MMD.

No person was measured. A subject is a body and a style, a performance bends a pose (`kinematics`),
a camera sees it, a sensor model spoils it (jitter, drift, limbs guessed, bodies lost, bodies
invented), and the result is written as real recordings are. Each file follows from the seed and
its own name alone, so that more subjects or videos leave the others as they were.

A ridge classifier (alpha 1) on the raw coordinates of frame50 clips, across subjects and with the
values below, scores 0.67 on the NTU-format set (12 classes) and 0.75 on the PKU-format set (8
classes). Five other seeds give 0.65 to 0.72 and 0.69 to 0.80.
"""

from __future__ import annotations

import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.kinematics import (
    ACTIONS,
    ARMS,
    JOINTS,
    LEGS,
    Action,
    Array,
    Body,
    Manner,
    Pose,
    plateau,
    ramp,
    solve,
)

NTU_ACTIONS = [
    "drink", "throw", "sit down", "stand up", "clap", "wave",
    "kick", "jump", "punch", "shake hands", "push", "hug",
]  # fmt: skip
PKU_ACTIONS = ["bow", "clap", "drink", "high five", "kick", "march", "throw", "wave"]

# The public training subjects of NTU RGB+D's xsub and the others up to 40, dealt two to one.
_TRAIN = [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38]
_TEST = [3, 6, 7, 10, 11, 12, 20, 21, 22, 23]
SUBJECTS = [number for k in range(10) for number in (*_TRAIN[2 * k : 2 * k + 2], _TEST[k])]

CAMERAS = {1: 0.0, 2: -45.0, 3: 45.0}  # degrees around the person
PKU_VARIETY = 1.4  # other people, told less exactly what to do
PKU_NOISE = 1.3  # another sensor, a little worse
VIEWS = {"M": 0.0, "L": -45.0, "R": 45.0}
IDENTIFIER = 2**56  # tracking ids begin here, where a double can no longer tell neighbours apart
FPS = 30

README = """\
Synthetic demonstration recordings: no measurement of people.

Written by the stage `synthesize` from a kinematic model of moving stick people, \
so that the whole pipeline
can be run and tested without any data set. The files have the format of {format};
the people, cameras and sensor faults in them are invented.
A score on them says that the pipeline works, and nothing about real recordings.
"""
_MARK = README.splitlines()[0]


@dataclass(frozen=True)
class Synthesize:
    """What to write. The section `synthesize` of params.yaml.

    seed: everything follows from it. subjects (1 to 30), replications, views (how many of the 3
    cameras keep a performance), setups: the NTU-format set has 12 x subjects x replications x
    views recordings, of `shortest` to `longest` frames. videos, instances: the PKU-format set has
    videos x instances labelled actions, two videos a subject. noise: scales the sensor's errors, 0
    is a perfect sensor. difficulty: scales how much performances of one action differ (start,
    pace, reach, posture, gestures). dropout, phantom, reorder: shares of files with frames without
    a body, with an invented body, and with bodies that change places in the listing.
    """

    seed: int = 1
    subjects: int = 12
    replications: int = 2
    views: int = 1
    setups: int = 3
    shortest: int = 30
    longest: int = 70
    videos: int = 24
    instances: int = 8
    noise: float = 1.0
    difficulty: float = 1.0
    dropout: float = 0.15
    phantom: float = 0.10
    reorder: float = 0.25

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "seed": (0, 2**32 - 1),
            "subjects": (1, len(SUBJECTS)),
            "replications": (1, 999),
            "views": (1, len(CAMERAS)),
            "setups": (1, 999),
            "shortest": (20, self.longest),
            "longest": (20, 300),
            "videos": (1, 999),
            "instances": (1, 99),
            "noise": (0, 10),
            "difficulty": (0, 3),
            "dropout": (0, 1),
            "phantom": (0, 1),
            "reorder": (0, 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"synthesize.{name}: found {getattr(self, name)}, expected {low} to {high}"
                )


@dataclass(frozen=True)
class Subject:
    """One person: a body, and habits that all their performances share."""

    body: Body
    right_handed: bool
    pace: float
    size: float
    lean: float
    twist: float
    nod: float
    hanging: Array  # (2, 3) how the arms hang, off the average

    @classmethod
    def draw(cls, rng: np.random.Generator, difficulty: float) -> Subject:
        return cls(
            body=Body.draw(rng),
            right_handed=bool(rng.random() < 0.7),
            pace=float(np.exp(0.15 * difficulty * rng.normal())),
            size=float(np.clip(1 + 0.15 * difficulty * rng.normal(), 0.6, 1.4)),
            lean=float(0.04 + 0.05 * difficulty * rng.normal()),
            twist=float(0.08 * difficulty * rng.normal()),
            nod=float(0.10 * difficulty * rng.normal()),
            hanging=0.06 * difficulty * rng.normal(size=(2, 3)),
        )


@dataclass
class Person:
    """One body as the sensor gives it: xyz in camera space, whether it is seen, which joints are
    guessed.
    """

    identifier: int
    xyz: Array  # (T, 25, 3)
    seen: np.ndarray  # (T,)
    guessed: np.ndarray  # (T, 25)


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


# People in a room: x to the right of one who faces the middle camera, y up, z away from that
# camera; metres.


def _wander(rng: np.random.Generator, frames: int, *shape: int) -> Array:
    """Slow random movement of about unit size, (T, *shape): three sines of 0.1 to 0.8 Hz."""
    time = np.arange(frames).reshape(-1, 1, *(1 for _ in shape)) / FPS
    rate, phase = rng.uniform(0.1, 0.8, (3, *shape)), rng.uniform(0, 1, (3, *shape))
    return np.sqrt(2 / 3) * np.sin(2 * np.pi * (rate * time + phase)).sum(1)


def _idle(rng: np.random.Generator, subject: Subject, frames: int, difficulty: float) -> Pose:
    """Standing as this subject stands, breathing and swaying."""
    pose = Pose.standing(frames)
    pose.root += 0.008 * _wander(rng, frames, 3)
    pose.root[:, 1] -= 0.015
    pose.lean += subject.lean + 0.04 * difficulty * rng.normal() + 0.015 * _wander(rng, frames)
    pose.tilt += 0.03 * difficulty * rng.normal() + 0.010 * _wander(rng, frames)
    pose.twist += subject.twist + 0.10 * difficulty * rng.normal() + 0.03 * _wander(rng, frames)
    pose.nod += subject.nod + 0.10 * difficulty * rng.normal() + 0.03 * _wander(rng, frames)
    pose.hands += subject.hanging + 0.04 * difficulty * rng.normal(size=(2, 3))
    pose.hands += 0.015 * _wander(rng, frames, 2, 3)
    return pose


# A hand on the hip, before the belly, at the face, half raised.
GESTURES = ((0.25, -0.45, 0.10), (-0.30, -0.45, 0.40), (-0.20, 0.25, 0.30), (0.0, -0.60, 0.45))


def _fidget(rng: np.random.Generator, pose: Pose, start: int, stop: int, difficulty: float) -> None:
    """Now and then, between two frames, a hand does something that has nothing to do with the
    action.
    """
    for side in (0, 1):
        if rng.random() >= 0.35 * difficulty:
            continue
        middle, width = rng.uniform(0, 1), rng.uniform(0.25, 0.8)
        u = (np.arange(len(pose.lean)) - start) / (stop - start)
        share = plateau(np.clip((u - middle) / width + 0.5, 0, 1), 0.35, 0.35)
        target = np.array(GESTURES[rng.integers(len(GESTURES))]) + 0.06 * rng.normal(size=3)
        pose.reach(side, share * rng.uniform(0.5, 1), target, elbow=(0.8, -0.6, -0.2))


def _manner(rng: np.random.Generator, subject: Subject, difficulty: float) -> Manner:
    usual = rng.random() >= 0.35 * difficulty
    return Manner(
        side=int(subject.right_handed == usual),
        size=float(np.clip(subject.size * (1 + 0.20 * difficulty * rng.normal()), 0.5, 1.5)),
        cycles=float(np.clip(subject.pace * (2 + difficulty * rng.uniform(-1, 1)), 1, 4)),
        phase=float(difficulty * rng.random() % 1.0),
        aim=0.09 * difficulty * rng.normal(size=3),
    )


def _progress(
    rng: np.random.Generator, frames: int, start: float, stop: float, difficulty: float
) -> Array:
    """0 to 1 between two frames, early or late in the middle as the performer likes."""
    u = np.clip((np.arange(frames) - start) / (stop - start), 0, 1)
    return u ** np.exp(0.25 * difficulty * rng.normal())


def _stand(xyz: Array, x: float, z: float, yaw: float | Array) -> Array:
    """Put people from their own frame into the room, turned by `yaw` (to their left)."""
    c, s = np.cos(yaw).reshape(-1, 1), np.sin(yaw).reshape(-1, 1)
    right, up, back = np.moveaxis(xyz, -1, 0)
    return np.stack([right * c + back * s + x, up, back * c - right * s + z], -1)


def _film(xyz: Array, angle: float, distance: float, height: float, pitch: float) -> Array:
    """The room in the space of a camera `distance` away at `angle`, `height` up, looking down by
    `pitch`.
    """
    x, y, z = np.moveaxis(xyz, -1, 0)
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = x * c - z * s, y - height, x * s + z * c + distance
    c, s = np.cos(pitch), np.sin(pitch)
    return np.stack([x, y * c + z * s, z * c - y * s], -1)


def perform(
    rng: np.random.Generator, action: Action, cast: list[Subject], frames: int, difficulty: float
) -> list[Array]:
    """One action by its people, (T, 25, 3) in the room for each, with some idle time before and
    after.
    """
    spare = frames * (1 - np.clip(rng.normal(0.62, 0.12 * difficulty), 0.4, 0.9))
    start = spare * np.clip(0.5 + 0.5 * difficulty * rng.uniform(-1, 1), 0.0, 1.0)
    u = _progress(rng, frames, start, start + frames - spare, difficulty)
    manner = _manner(rng, cast[0], difficulty)
    turn = 0.25 * difficulty * rng.normal()
    people = []
    for role, subject in enumerate(cast):
        pose = _idle(rng, subject, frames, difficulty)
        _fidget(rng, pose, 0, frames, difficulty)
        aim = manner.aim + 0.03 * difficulty * rng.normal(size=3)
        action.perform(
            pose, u, Manner(manner.side, manner.size, manner.cycles, manner.phase, aim), role
        )
        xyz = solve(subject.body, pose)
        if action.people == 1:
            people.append(_stand(xyz, 0.2 * rng.normal(), 0.2 * rng.normal(), turn))
            continue
        sign = 1 - 2 * role
        along = np.array([np.cos(turn), -np.sin(turn)])
        x, z = -sign * action.apart / 2 * along
        people.append(_stand(xyz, float(x), float(z), turn - sign * np.pi / 2))
    return people


# The sensor.

_ROUGH = np.ones(JOINTS)  # hands and feet are measured worst
for _arm in ARMS:
    _ROUGH[list(_arm[2:])] = (1.6, 2.0, 2.6, 2.8)
for _leg in LEGS:
    _ROUGH[list(_leg[1:])] = (1.3, 2.0, 2.4)


def sense(rng: np.random.Generator, xyz: Array, identifier: int, noise: float) -> Person:
    """What a Kinect-like sensor makes of a true body (T, 25, 3): jitter, slow drift, limbs
    guessed.
    """
    frames = len(xyz)
    guessed = np.zeros((frames, JOINTS), bool)
    error = 0.006 * rng.normal(size=xyz.shape)
    for limb in (*ARMS, *LEGS):
        for _ in range(rng.poisson(0.004 * frames) if noise else 0):
            start, length = int(rng.integers(frames)), int(rng.integers(6, 20))
            joints = list(limb[1:])
            guessed[start : start + length, joints] = True
            share = plateau(np.clip((np.arange(frames) - start) / length, 0, 1), 0.3, 0.3)
            error[:, joints] += 0.05 * share[:, None, None] * rng.normal(size=(len(joints), 3))
    error += 0.006 * _wander(rng, frames, JOINTS, 3)
    # the error grows with distance
    depth = np.linalg.norm(xyz[:, :1], axis=-1, keepdims=True) / 3.0
    return Person(
        identifier, xyz + noise * depth * _ROUGH[:, None] * error, np.ones(frames, bool), guessed
    )


def _phantom(rng: np.random.Generator, frames: int, identifier: int) -> Person:
    """A piece of furniture taken for a person: wide and low, far away, gone after a few frames."""
    length = int(rng.integers(2, min(10, frames // 2)))
    start = int(rng.integers(frames - length))
    place = np.array([rng.uniform(-2.0, 2.0), rng.uniform(-0.7, 0.0), rng.uniform(4.2, 5.5)])
    shape = rng.normal(size=(JOINTS, 3)) * (0.35, 0.12, 0.10)
    xyz = place + shape + 0.02 * rng.normal(size=(frames, JOINTS, 3))
    seen = np.zeros(frames, bool)
    seen[start : start + length] = True
    return Person(identifier, xyz, seen, np.ones((frames, JOINTS), bool))


def _identifiers(rng: np.random.Generator, count: int) -> list[int]:
    """Tracking ids so close that a double would take them for one."""
    first = IDENTIFIER + 16 * int(rng.integers(60, 4000))
    return [first + k for k in range(count)]


@dataclass
class Scene:
    """What one file holds: its people, and for each frame the order they are listed in."""

    people: list[Person]
    order: list[list[int]]

    @property
    def frames(self) -> int:
        return len(self.order)


def _scene(
    rng: np.random.Generator,
    people: list[Array],
    settings: Synthesize,
    noise: float,
    present: np.ndarray | None = None,
) -> Scene:
    """What the sensor makes of true bodies in camera space, with its faults in finding and
    ordering them.

    present (T,): when the second of two is there, always if None.
    """
    frames = len(people[0])
    names = _identifiers(rng, len(people) + 1)
    cast = [sense(rng, xyz, name, noise) for xyz, name in zip(people, names, strict=False)]
    if present is not None:
        cast[1].seen &= present
    if len(cast) > 1 and rng.random() < 2 * settings.dropout:  # one of two is lost for a while
        start, length = int(rng.integers(frames)), int(rng.integers(3, 16))
        cast[int(rng.integers(len(cast)))].seen[start : start + length] = False
    if rng.random() < settings.dropout:  # nobody is found, often at the start
        start, length = int(rng.integers(2) * rng.integers(frames - 4)), int(rng.integers(1, 5))
        for person in cast:
            person.seen[start : start + length] = False
    if rng.random() < settings.phantom:
        cast.append(_phantom(rng, frames, names[-1]))
    listing = list(range(len(cast)))
    if len(people) > 1 and rng.random() < 2 * settings.reorder:
        listing[:2] = [1, 0]
    order = [[k for k in listing if cast[k].seen[t]] for t in range(frames)]
    if len(cast) > 1 and rng.random() < settings.reorder:
        start, length = int(rng.integers(frames)), int(rng.integers(4, 20))
        order[start : start + length] = [row[::-1] for row in order[start : start + length]]
    return Scene(cast, order)


# Writing.

_PARENT = np.array(
    [0, 0, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 7, 11, 11]
)
_NO_ORIENTATION = [0, 3, 15, 19, 21, 22, 23, 24]  # the sensor gives none for the ends of limbs
_JOINT = "%.4f %.4f %.4f %.2f %.2f %.2f %.2f %.4f %.4f %.4f %.4f %d\n" * JOINTS
_BODY = "%d 0 %d %d %d %d 0 %.4f %.4f 2\n25\n"
_PKU_LINE = "%.4f " * (6 * JOINTS - 1) + "%.4f\n"


def _joint_rows(person: Person) -> Array:
    """The 12 numbers of each joint, (T, 25, 12): place, two pixels, orientation of its bone,
    state.
    """
    xyz = person.xyz
    x, y, z = xyz[..., 0], xyz[..., 1], np.maximum(xyz[..., 2], 0.1)
    depth = [256 + 365 * x / z, 208.5 - 365 * y / z]
    colour = [959.5 + 1081 * (x + 0.052) / z, 568 - 1081 * y / z]
    bone = xyz - xyz[:, _PARENT]
    bone /= np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-6)
    # The quaternion (w, x, y, z) that takes y to the bone's direction.
    turn = np.stack([1 + bone[..., 1], bone[..., 2], 0 * x, -bone[..., 0]], -1)
    turn /= np.maximum(np.linalg.norm(turn, axis=-1, keepdims=True), 1e-6)
    turn[:, _NO_ORIENTATION] = 0
    state = np.where(person.guessed, 1, 2)
    return np.concatenate([xyz, np.stack([*depth, *colour], -1), turn, state[..., None]], -1)


def ntu_text(scene: Scene) -> str:
    """A scene in the grammar of NTU RGB+D's .skeleton files."""
    rows = [_joint_rows(person).reshape(scene.frames, -1) for person in scene.people]
    text = [f"{scene.frames}\n"]
    for t, listed in enumerate(scene.order):
        text.append(f"{len(listed)}\n")
        for k in listed:
            person = scene.people[k]
            right, _, back = np.clip(person.xyz[t, 20] - person.xyz[t, 0], -1, 1)
            hands = [int(not person.guessed[t, joint]) for joint in (7, 11)]
            state = (hands[0], 2 * hands[0], hands[1], 2 * hands[1])
            text.append(_BODY % (person.identifier, *state, right, -back))
            text.append(_JOINT % tuple(rows[k][t].tolist()))
    return "".join(text)


def pku_text(scene: Scene) -> str:
    """A scene in the format of PKU-MMD: a line a frame, two bodies of 25 x 3 numbers, zeros for
    none.
    """
    lines = np.zeros((scene.frames, 2, JOINTS, 3))
    for t, listed in enumerate(scene.order):
        for slot, k in enumerate(listed[:2]):
            lines[t, slot] = scene.people[k].xyz[t]
    return "".join(_PKU_LINE % tuple(line) for line in lines.reshape(scene.frames, -1).tolist())


def _video(
    stem: str, view: str, number: int, settings: Synthesize
) -> tuple[Scene, list[tuple[int, int, int, int]]]:
    """A long take of one subject and its labels (class from 1, first and last frame from 1,
    confidence).

    Between actions the subject stands; for an action of two it turns to a partner, seen only
    around then.
    """
    hard = PKU_VARIETY * settings.difficulty
    rng = _rng(settings.seed, "pku video", stem)
    subject = Subject.draw(_rng(settings.seed, "pku subject", number), hard)
    partner = Subject.draw(_rng(settings.seed, "pku partner", stem), hard)
    rounds = -(-settings.instances // len(PKU_ACTIONS))
    plan = np.concatenate([rng.permutation(len(PKU_ACTIONS)) for _ in range(rounds)])[
        : settings.instances
    ]
    lengths = np.clip(rng.normal(40, 9, len(plan)) / subject.pace, 24, 70).astype(int)
    gaps = rng.integers(26, 46, len(plan) + 1)
    frames = int(lengths.sum() + gaps.sum())

    poses = [_idle(rng, person, frames, hard) for person in (subject, partner)]
    base = 0.25 * hard * rng.normal()
    side_on = base + float(rng.choice([-1.2, 1.2]))
    yaw = base + 0.1 * _wander(rng, frames)
    near = np.zeros(frames, bool)
    clock = np.arange(frames, dtype=float)
    labels, stop = [], 0
    for label, length, gap in zip(plan.tolist(), lengths.tolist(), gaps.tolist(), strict=False):
        start, stop = stop + gap, stop + gap + length
        action = ACTIONS[PKU_ACTIONS[label]]
        u = _progress(rng, frames, start, stop, hard)
        manner = _manner(rng, subject, hard)
        for role in range(action.people):
            _fidget(rng, poses[role], start, stop, hard)
            action.perform(poses[role], u, manner, role)
        if action.people == 2:
            turned = ramp(clock, start - 18, start) - ramp(clock, stop, stop + 18)
            yaw += turned * (side_on - yaw)
            near[start - 18 : stop + 18] = True
        # annotators are not exact
        first, last = start - rng.integers(0, 25), stop + rng.integers(0, 25)
        labels.append(
            (label + 1, max(1, int(first) + 1), min(frames, int(last)), int(rng.integers(1, 3)))
        )

    apart = max(ACTIONS[name].apart for name in PKU_ACTIONS)
    people = [
        _stand(solve(subject.body, poses[0]), 0.0, 0.0, yaw),
        _stand(
            solve(partner.body, poses[1]),
            float(-apart * np.sin(side_on)),
            float(-apart * np.cos(side_on)),
            side_on + np.pi,
        ),
    ]
    angle = np.deg2rad(VIEWS[view] + 4 * rng.normal())
    distance, height, pitch = (
        rng.uniform(2.8, 3.6),
        rng.uniform(1.0, 1.4),
        np.deg2rad(rng.normal(4, 1.5)),
    )
    filmed = [_film(xyz, angle, distance, height, pitch) for xyz in people]
    return _scene(rng, filmed, settings, PKU_NOISE * settings.noise, present=near), labels


def _open(folder: Path, form: str, classes: list[str]) -> None:
    """An empty folder with its README and class names; never empties one that this module has not
    written.
    """
    if folder.exists():
        readme = folder / "README.txt"
        ours = readme.is_file() and readme.read_text(encoding="utf-8").startswith(_MARK)
        if any(folder.iterdir()) and not ours:
            raise ValueError(
                f"{folder}: found files that are no demonstration, "
                f"expected an empty folder or a README.txt that begins with {_MARK!r}"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    _write(folder / "README.txt", README.format(format=form))
    _write(folder / "classes.txt", "".join(f"{name}\n" for name in classes))


def _write(path: Path, text: str) -> int:
    path.write_bytes(text.encode())
    return len(text)


def write_ntu(folder: Path, settings: Synthesize) -> dict[str, int]:
    """Write the NTU-format set into `folder`; returns what was written as counts.

    Files are SsssCcccPpppRrrrAaaa.skeleton. Subjects are numbered so that the public cross-subject
    list of NTU RGB+D divides them two to one; a performance is kept by `views` of the three
    cameras, in rotation. Raises ValueError if `folder` holds anything but an earlier
    demonstration.
    """
    _open(folder, "NTU RGB+D (.skeleton)", NTU_ACTIONS)
    hard, seed = settings.difficulty, settings.seed
    counts = {"recordings": 0, "frames": 0, "frames_without_body": 0, "phantoms": 0, "bytes": 0}
    for place, number in enumerate(SUBJECTS[: settings.subjects]):
        subject = Subject.draw(_rng(seed, "ntu subject", number), hard)
        for replication in range(1, settings.replications + 1):
            setup = (place + replication) % settings.setups + 1
            rig = _rng(seed, "ntu setup", setup)
            distance, height = rig.uniform(2.6, 3.4), rig.uniform(0.9, 1.5)
            for label, name in enumerate(NTU_ACTIONS):
                stem = f"P{number:03d}R{replication:03d}A{label + 1:03d}"
                rng = _rng(seed, "ntu performance", stem)
                # The other of two people is nobody's subject, so that no person is on both sides
                # of a split.
                partner = Subject.draw(_rng(seed, "ntu partner", number, replication), hard)
                cast = [subject, partner][: ACTIONS[name].people]
                frames = int(
                    np.clip(rng.normal(50, 10) / subject.pace, settings.shortest, settings.longest)
                )
                people = perform(rng, ACTIONS[name], cast, frames, hard)
                for view in range(settings.views):
                    camera = (place + replication + label + view) % len(CAMERAS) + 1
                    full = f"S{setup:03d}C{camera:03d}{stem}"
                    eye = _rng(seed, "ntu camera", full)
                    angle = np.deg2rad(CAMERAS[camera] + 4 * eye.normal())
                    pitch = np.deg2rad(eye.normal(4, 1.5))
                    filmed = [_film(xyz, angle, distance, height, pitch) for xyz in people]
                    scene = _scene(eye, filmed, settings, settings.noise)
                    counts["recordings"] += 1
                    counts["frames"] += scene.frames
                    counts["frames_without_body"] += sum(not listed for listed in scene.order)
                    counts["phantoms"] += len(scene.people) - len(cast)
                    counts["bytes"] += _write(folder / f"{full}.skeleton", ntu_text(scene))
    return counts


def write_pku(folder: Path, settings: Synthesize) -> dict[str, int]:
    """Write the PKU-format set into `folder`; returns what was written as counts.

    skeleton/, label/ and split/ as in Part I of PKU-MMD. Every third subject and the left view are
    for test. Raises ValueError if `folder` holds anything but an earlier demonstration.
    """
    _open(folder, "PKU-MMD, Part I (.txt)", PKU_ACTIONS)
    for name in ("skeleton", "label", "split"):
        (folder / name).mkdir()
    counts = {"videos": 0, "instances": 0, "frames": 0, "frames_without_body": 0, "bytes": 0}
    subject_side: dict[str, bool] = {}
    view_side: dict[str, bool] = {}
    for video in range(settings.videos):
        view = "MRL"[video % 3]
        stem = f"{video + 2:04d}-{view}"
        subject_side[stem], view_side[stem] = video // 2 % 3 != 2, view != "L"
        scene, labels = _video(stem, view, video // 2, settings)
        counts["videos"] += 1
        counts["instances"] += len(labels)
        counts["frames"] += scene.frames
        counts["frames_without_body"] += sum(not listed for listed in scene.order)
        counts["bytes"] += _write(folder / "skeleton" / f"{stem}.txt", pku_text(scene))
        lines = "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in labels)
        counts["bytes"] += _write(folder / "label" / f"{stem}.txt", lines)
    for name, trains in (("cross-subject", subject_side), ("cross-view", view_side)):
        train = "".join(f"{stem}, " for stem, yes in trains.items() if yes)
        test = "".join(f"{stem}, " for stem, yes in trains.items() if not yes)
        # "Validataion" is how the public files spell it, and the trailing comma is theirs too.
        _write(
            folder / "split" / f"{name}.txt",
            f"Training videos:\n{train}\nValidataion videos:\n{test}\n",
        )
    return counts
