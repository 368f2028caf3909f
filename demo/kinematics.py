"""A small kinematic model of people: bodies with fixed bones, poses over time, and a table of
actions.

A person's own frame has x to the person's right, y up, z to the back, and its origin on the floor
between the feet. Hands and feet are placed, elbows and knees follow (two-bone inverse kinematics),
so bones keep their length whatever an action asks for. Targets are written as (outward, up,
forward), the same for left and right limbs. Sizes are metres, angles radians, sides 0 for left and
1 for right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = Sequence[float | Array] | Array

JOINTS = 25
SIGN = np.array([-1.0, 1.0])  # left is at negative x
ARMS = ((4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24))  # shoulder, elbow, wrist, hand, tip, thumb
LEGS = ((12, 13, 14, 15), (16, 17, 18, 19))  # hip, knee, ankle, foot

HANGING = (0.14, -0.95, 0.06)  # a relaxed hand, from its shoulder, in arm lengths
ELBOW = (0.5, -0.4, -0.8)  # where a relaxed elbow points


@dataclass(frozen=True)
class Body:
    """Lengths of one person's bones in metres; nothing here changes with time."""

    lower_spine: float
    upper_spine: float
    neck: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float
    hand: float
    hip: float
    thigh: float
    shin: float
    foot: float
    stance: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        """A person of about 1.50 to 1.95 m, every bone a little off the average proportion."""
        height = float(np.clip(rng.normal(1.71, 0.09), 1.50, 1.95))
        shares = (
            0.155,
            0.125,
            0.045,
            0.085,
            0.105,
            0.165,
            0.145,
            0.045,
            0.048,
            0.235,
            0.230,
            0.070,
            0.065,
        )
        return cls(*(float(height * share * rng.normal(1.0, 0.04)) for share in shares))

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        return self.thigh + self.shin


@dataclass
class Pose:
    """What a person does over T frames, free of the person's size.

    root (T, 3): pelvis off its standing place (right, up, forward), in leg lengths. lean, tilt,
    twist, nod (T,): trunk forward, trunk to the right, chest to the left, head forward. hands (T,
    2, 3): wrist from its shoulder in the chest's frame, in arm lengths. elbows (T, 2, 3): where
    they point, in the chest's frame. feet (T, 2, 3): ankle off its standing place, in leg lengths;
    toes (T, 2): heel lifted by this angle.
    """

    root: Array
    lean: Array
    tilt: Array
    twist: Array
    nod: Array
    hands: Array
    elbows: Array
    feet: Array
    toes: Array

    @classmethod
    def standing(cls, frames: int) -> Pose:
        def zeros(*shape: int) -> Array:
            return np.zeros((frames, *shape))

        return cls(
            root=zeros(3),
            lean=zeros(),
            tilt=zeros(),
            twist=zeros(),
            nod=zeros(),
            hands=zeros(2, 3) + HANGING,
            elbows=zeros(2, 3) + ELBOW,
            feet=zeros(2, 3),
            toes=zeros(2),
        )

    def reach(self, side: int, share: Array, target: Triple, elbow: Triple | None = None) -> None:
        """Move one hand from where it is to `target`, all the way where `share` (T,) is 1."""
        self.hands[:, side] += share[:, None] * (_stack(target, len(share)) - self.hands[:, side])
        if elbow is not None:
            self.elbows[:, side] += share[:, None] * (
                _stack(elbow, len(share)) - self.elbows[:, side]
            )

    def step(self, forward: float, u: Array, start: float, stop: float) -> None:
        """Go `forward` leg lengths, one foot after the other."""
        half = (start + stop) / 2
        self.root[:, 2] += forward * ramp(u, start, stop)
        for side, (a, b) in enumerate(((start, half), (half, stop))):
            self.feet[:, side, 2] += forward * ramp(u, a, b)
            self.feet[:, side, 1] += 0.10 * bump(u, a, b)


def ramp(u: Array, start: float, stop: float) -> Array:
    """0 before `start`, 1 after `stop`, with no jump in speed or acceleration between (quintic)."""
    x = np.clip((u - start) / (stop - start), 0.0, 1.0)
    return x**3 * (10.0 + x * (6.0 * x - 15.0))


def bump(u: Array, start: float, stop: float) -> Array:
    """Up from 0 to 1 and back within [start, stop]."""
    half = (start + stop) / 2
    return ramp(u, start, half) - ramp(u, half, stop)


def plateau(u: Array, rise: float, fall: float) -> Array:
    """0 to 1 within the first `rise` of [0, 1], back to 0 within the last `fall` of it."""
    return ramp(u, 0.0, rise) - ramp(u, 1.0 - fall, 1.0)


def _stack(values: Triple, frames: int) -> Array:
    return np.stack([np.broadcast_to(np.asarray(value, float), (frames,)) for value in values], -1)


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def _sided(v: Array, side: int) -> Array:
    """(outward, up, forward) → (right, up, back)."""
    return v * (SIGN[side], 1.0, -1.0)


def _turn(axis: int, angle: Array) -> Array:
    """Rotations (T, 3, 3) about x, y or z, right-handed."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    matrix[:, i, i] = matrix[:, j, j] = np.cos(angle)
    matrix[:, j, i] = np.sin(angle)
    matrix[:, i, j] = -matrix[:, j, i]
    return matrix


def _bend(
    start: Array, target: Array, first: float, second: float, pole: Array
) -> tuple[Array, Array, Array]:
    """Two bones from `start` towards `target` (T, 3): middle joint, end joint, direction the
    middle points.

    A target out of reach is brought to the nearest distance that the two bones can span.
    """
    way = target - start
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    along = way / np.maximum(distance, 1e-9)
    distance = np.clip(
        distance, abs(first - second) + 0.15 * min(first, second), 0.998 * (first + second)
    )
    aside = _unit(pole - (pole * along).sum(-1, keepdims=True) * along)
    cosine = (first**2 + distance**2 - second**2) / (2 * first * distance)
    middle = start + first * (cosine * along + np.sqrt(1 - cosine**2) * aside)
    return middle, start + distance * along, aside


def solve(body: Body, pose: Pose) -> Array:
    """Joint positions (T, 25, 3) in the person's own frame (right, up, back), Kinect v2 order,
    metres.
    """
    frames = len(pose.lean)
    xyz = np.zeros((frames, JOINTS, 3))
    ankle_height = 0.5 * body.foot
    # Standing knees are slightly bent: a straight leg could not follow the smallest sway of the
    # pelvis.
    standing = np.array([0.0, 0.985 * body.leg + ankle_height + 0.3 * body.hip, 0.0])

    def trunk(share: float) -> Array:
        return _turn(0, -share * pose.lean) @ _turn(2, -share * pose.tilt)

    pelvis, middle, chest = trunk(0.3), trunk(0.7), trunk(1.0) @ _turn(1, pose.twist)
    head = chest @ _turn(0, -pose.nod)

    base = standing + body.leg * pose.root * (1.0, 1.0, -1.0)
    xyz[:, 0] = base
    xyz[:, 1] = base + middle @ (0.0, body.lower_spine, 0.0)
    xyz[:, 20] = xyz[:, 1] + chest @ (0.0, body.upper_spine, 0.0)
    xyz[:, 2] = xyz[:, 20] + head @ (0.0, body.neck, 0.0)
    xyz[:, 3] = xyz[:, 2] + head @ (0.0, body.head, -0.25 * body.head)

    for side in (0, 1):
        shoulder, elbow, wrist, hand, tip, thumb = ARMS[side]
        xyz[:, shoulder] = xyz[:, 20] + chest @ (
            SIGN[side] * body.shoulder,
            -0.3 * body.shoulder,
            0.0,
        )
        target, pole = (
            (chest @ _sided(v[:, side], side)[..., None])[..., 0] for v in (pose.hands, pose.elbows)
        )
        xyz[:, elbow], xyz[:, wrist], aside = _bend(
            xyz[:, shoulder],
            xyz[:, shoulder] + body.arm * target,
            body.upper_arm,
            body.forearm,
            pole,
        )
        along = _unit(xyz[:, wrist] - xyz[:, elbow])
        across = _unit(aside - (aside * along).sum(-1, keepdims=True) * along)
        xyz[:, hand] = xyz[:, wrist] + body.hand * along
        xyz[:, tip] = xyz[:, hand] + body.hand * along
        xyz[:, thumb] = xyz[:, hand] + body.hand * (0.3 * along - 0.6 * across)

        hip, knee, ankle, foot = LEGS[side]
        xyz[:, hip] = base + pelvis @ (SIGN[side] * body.hip, -0.3 * body.hip, 0.0)
        rest = np.array([SIGN[side] * body.stance, ankle_height, 0.0])
        target = rest + body.leg * _sided(pose.feet[:, side], side)
        pole = _sided(np.array([0.15, 0.25, 1.0]), side)
        xyz[:, knee], xyz[:, ankle], _ = _bend(
            xyz[:, hip], target, body.thigh, body.shin, np.broadcast_to(pole, (frames, 3))
        )
        toes = pose.toes[:, side] + 0.45  # the foot's joint lies lower than the ankle's
        xyz[:, foot] = xyz[:, ankle] + body.foot * np.stack(
            [np.full(frames, SIGN[side] * 0.2), -np.sin(toes), -np.cos(toes)], -1
        )
    return xyz


@dataclass(frozen=True)
class Manner:
    """How one performance of an action differs from another of the same.

    side: the limb that leads. size: 1 is the average reach. cycles: how often it is repeated, from
    1. phase: where in its cycle a repeated motion begins, 0 to 1. aim (3,): hands miss by this, in
    arm lengths.
    """

    side: int
    size: float
    cycles: float
    phase: float
    aim: Array

    def beat(self, u: Array, cycles: float) -> Array:
        """A sine of `cycles` cycles over [0, 1], -1 to 1."""
        return np.sin(2 * np.pi * (cycles * u + self.phase))

    def at(self, outward: float | Array, up: float | Array, forward: float | Array) -> Triple:
        return (outward + self.aim[0], up + self.aim[1], forward + self.aim[2])


Perform = Callable[[Pose, Array, Manner, int], None]


def drink(pose: Pose, u: Array, m: Manner, role: int) -> None:
    there = plateau(u, 0.3, 0.3)
    sip = np.zeros_like(u)
    edges = np.linspace(0.3, 0.7, round(m.cycles) + 1)
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        sip += bump(u, start, stop)
    pose.reach(m.side, there, m.at(-0.26, 0.18 + 0.12 * sip, 0.36), elbow=(0.45, -1.0, 0.2))
    pose.nod -= 0.35 * m.size * sip


def throw(pose: Pose, u: Array, m: Manner, role: int) -> None:
    turn = 0.5 * m.size * (-1.0 if m.side else 1.0)
    pose.reach(m.side, ramp(u, 0.0, 0.3), m.at(0.40, 0.35, -0.40 * m.size), elbow=(1.0, 0.0, -0.3))
    pose.reach(m.side, ramp(u, 0.38, 0.58), m.at(-0.1, 0.1, 0.92), elbow=(0.8, -0.5, 0.0))
    pose.reach(m.side, ramp(u, 0.62, 1.0), HANGING, elbow=ELBOW)
    pose.twist += turn * (ramp(u, 0.0, 0.35) - 2 * ramp(u, 0.38, 0.6) + ramp(u, 0.65, 1.0))
    pose.lean += 0.3 * m.size * bump(u, 0.35, 0.95)


def _seated(pose: Pose, down: Array, m: Manner) -> None:
    moving = 4 * down * (1 - down)
    pose.root[:, 1] -= 0.48 * down
    pose.root[:, 2] -= 0.42 * down
    pose.lean += 0.12 * down + 0.55 * m.size * moving
    for side in (0, 1):
        pose.reach(side, down, m.at(0.0, -0.62, 0.52), elbow=(0.8, -0.4, -0.5))


def sit_down(pose: Pose, u: Array, m: Manner, role: int) -> None:
    _seated(pose, ramp(u, 0.1, 0.9), m)


def stand_up(pose: Pose, u: Array, m: Manner, role: int) -> None:
    _seated(pose, 1 - ramp(u, 0.1, 0.9), m)


def clap(pose: Pose, u: Array, m: Manner, role: int) -> None:
    apart = 0.18 * m.size * (1 + m.beat(u, 2 + 1.5 * m.cycles))
    for side in (0, 1):
        pose.reach(
            side, plateau(u, 0.2, 0.2), m.at(-0.26 + apart, -0.22, 0.52), elbow=(0.9, -0.8, -0.2)
        )


def wave(pose: Pose, u: Array, m: Manner, role: int) -> None:
    swing = 0.26 * m.size * m.beat(u, 1 + 1.2 * m.cycles)
    pose.reach(
        m.side, plateau(u, 0.25, 0.25), m.at(0.36 + swing, 0.42, 0.24), elbow=(0.7, -0.8, 0.0)
    )


def kick(pose: Pose, u: Array, m: Manner, role: int) -> None:
    other = 1 - m.side
    out = bump(u, 0.25, 0.85)
    pose.root[:, 0] += 0.06 * SIGN[other] * plateau(u, 0.25, 0.2)
    pose.feet[:, m.side, 2] += -0.25 * bump(u, 0.0, 0.45) + 0.62 * m.size * out
    pose.feet[:, m.side, 1] += 0.10 * bump(u, 0.0, 0.45) + 0.36 * m.size * out
    pose.toes[:, m.side] -= 0.5 * out
    pose.lean -= 0.22 * m.size * out
    pose.reach(other, 0.5 * out, m.at(0.4, -0.4, 0.7))


def jump(pose: Pose, u: Array, m: Manner, role: int) -> None:
    hops = max(1, round(m.cycles))
    for k in range(hops):
        a, d = k / hops, 1 / hops
        crouch = bump(u, a, a + 0.45 * d) + bump(u, a + 0.6 * d, a + d)
        air = bump(u, a + 0.3 * d, a + 0.75 * d)
        pose.root[:, 1] += 0.22 * m.size * air - 0.20 * m.size * crouch
        pose.feet[:, :, 1] += 0.22 * m.size * air[:, None]
        pose.toes += 0.5 * air[:, None]
        pose.lean += 0.3 * crouch
        for side in (0, 1):
            pose.reach(side, 0.7 * crouch, m.at(0.1, -0.7, -0.5))
            pose.reach(side, 0.7 * air, m.at(0.2, -0.2, 0.8))


def bow(pose: Pose, u: Array, m: Manner, role: int) -> None:
    down = plateau(u, 0.4, 0.4)
    pose.lean += 0.75 * m.size * down
    pose.nod += 0.25 * down
    pose.root[:, 2] -= 0.10 * m.size * down
    for side in (0, 1):
        pose.reach(side, 0.6 * down, m.at(0.0, -0.85, 0.45))


def march(pose: Pose, u: Array, m: Manner, role: int) -> None:
    swing = plateau(u, 0.15, 0.15) * m.beat(u, 1 + m.cycles)
    for side in (0, 1):
        mine = swing * SIGN[side]
        lift = np.maximum(mine, 0.0) ** 2 * m.size
        pose.feet[:, side, 1] += 0.24 * lift
        pose.feet[:, side, 2] += 0.10 * lift
        pose.toes[:, side] += 0.4 * lift
        pose.hands[:, side] += np.stack([0 * u, 0.12 * np.abs(mine), -0.40 * m.size * mine], -1)
    pose.root[:, 0] -= 0.04 * swing


def punch(pose: Pose, u: Array, m: Manner, role: int) -> None:
    guard = plateau(u, 0.2, 0.2)
    swing = m.beat(u, 0.5 + 0.8 * m.cycles)
    for side in (0, 1):
        out = np.maximum(swing * SIGN[side] * SIGN[m.side], 0.0) ** 1.5 * min(m.size, 1.2)
        pose.reach(
            side, guard, m.at(-0.12, -0.05 + 0.1 * out, 0.30 + 0.62 * out), elbow=(0.5, -1.0, 0.0)
        )
    pose.twist += 0.3 * m.size * guard * swing * SIGN[m.side]


def handshake(pose: Pose, u: Array, m: Manner, role: int) -> None:
    shake = 0.10 * m.size * m.beat(u, 2 + 1.2 * m.cycles) * plateau(u, 0.35, 0.3)
    pose.reach(
        m.side, plateau(u, 0.3, 0.3), m.at(-0.22, -0.38 + shake, 0.72), elbow=(0.4, -1.0, -0.2)
    )
    pose.lean += 0.10 * plateau(u, 0.3, 0.3)


def high_five(pose: Pose, u: Array, m: Manner, role: int) -> None:
    pose.reach(m.side, plateau(u, 0.4, 0.4), m.at(0.15, 0.45, 0.25), elbow=(0.7, -0.8, 0.0))
    pose.reach(m.side, bump(u, 0.3, 0.7), m.at(-0.2, 0.45, 0.78))
    pose.lean += 0.10 * m.size * bump(u, 0.3, 0.7)


def push(pose: Pose, u: Array, m: Manner, role: int) -> None:
    if role == 0:
        for side in (0, 1):
            pose.reach(
                side, plateau(u, 0.25, 0.4), m.at(-0.08, -0.10, 0.40), elbow=(0.7, -0.9, 0.0)
            )
            pose.reach(side, bump(u, 0.22, 0.75), m.at(-0.08, -0.06, 0.95))
        pose.lean += 0.28 * m.size * bump(u, 0.2, 0.8)
        return
    hit = bump(u, 0.4, 0.95)
    pose.lean -= 0.30 * m.size * hit
    pose.step(-0.35 * m.size, u, 0.42, 0.9)
    for side in (0, 1):
        pose.reach(side, 0.8 * hit, m.at(0.35, -0.45, 0.6))


def hug(pose: Pose, u: Array, m: Manner, role: int) -> None:
    near = plateau(u, 0.35, 0.3)
    pose.step(0.22, u, 0.0, 0.35)
    for side in (0, 1):
        high = 0.08 if side == m.side else -0.35  # one arm over, one under the other's shoulder
        pose.reach(side, bump(u, -0.05, 0.55), m.at(0.55, high, 0.65), elbow=(1.0, -0.4, 0.0))
        pose.reach(side, near, m.at(-0.12, high, 0.62), elbow=(1.0, -0.3, 0.0))
    pose.lean += 0.15 * m.size * near
    pose.twist += 0.12 * near * m.beat(u, 1.0)
    pose.step(-0.22, u, 0.7, 1.0)


@dataclass(frozen=True)
class Action:
    """perform(pose, u, manner, role) bends a pose; u (T,) runs from 0 to 1 while the action lasts.

    apart: where people are two, the metres between them (role 0 and role 1 face each other).
    """

    perform: Perform
    apart: float = 0.0

    @property
    def people(self) -> int:
        return 2 if self.apart else 1


ACTIONS: dict[str, Action] = {
    "drink": Action(drink),
    "throw": Action(throw),
    "sit down": Action(sit_down),
    "stand up": Action(stand_up),
    "clap": Action(clap),
    "wave": Action(wave),
    "kick": Action(kick),
    "jump": Action(jump),
    "bow": Action(bow),
    "march": Action(march),
    "punch": Action(punch),
    "shake hands": Action(handshake, apart=1.05),
    "high five": Action(high_five, apart=0.95),
    "push": Action(push, apart=0.95),
    "hug": Action(hug, apart=0.85),
}
