"""One clip, one thread: teacher and student in every form, beside the teacher as published code
would run it.

The baseline is two encoders and the alignment in eager torch: channels first, the graph sum as an
einsum over the subsets, normalisations by themselves, an absent person computed like a present
one. All forms are checked against it before they are timed. What a form costs in accuracy is
measured on a student taught by labels for a minute on the synthetic demonstration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asma import backbones, evaluation, skeleton, training
from asma.backbones.blocks import StackArchitecture
from asma.backbones.stgcn import STGCN
from asma.data import clips, parse
from asma.data.recordings import Store
from asma.deployment import edge, forms, inference
from asma.deployment.forms import FILES, FORMS, Form
from asma.distillation import Distill, Student
from asma.fusion import AlignedClassifier, Alignment, Teacher
from benchmarks.measure import Result, compare, threads
from benchmarks.plain import PlainSTGCN
from demo import synthetic

SHAPE = (3, 50, 25, 2)  # a clip: C, T, V, M
CALLS = 4  # of each program in a round
LAYOUT = "kinect_v2"
CLASSES = synthetic.NTU_ACTIONS

# How a form is called in the results, and its precision.
CALLED = {
    "eager": ("eager", "fp32"),
    "compact": ("compact", "fp32"),
    "compiled": ("compact, compiled", "fp32"),
    "onnx_fp32": ("ONNX", "fp32"),
    "onnx_int8": ("ONNX", "int8"),
}


class PlainTeacher(nn.Module):
    """Clips → logits of two encoders and the feature alignment."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            PlainSTGCN(cast(STGCN, e)) for e in (teacher.first, teacher.second)
        )
        self.classifier = teacher.classifier

    def forward(self, x: Tensor) -> Tensor:
        maps = [
            cast(PlainSTGCN, e).bodies(x).unflatten(0, (len(x), -1)).mean(dim=1)
            for e in self.encoders
        ]
        tokens = [features.mean(dim=3).transpose(1, 2) for features in maps]  # (N, 13, D)
        return self.classifier(torch.stack(tokens, dim=1))


def settle(network: nn.Module, x: Tensor) -> None:
    """Give the normalisations statistics of real clips, so that nothing runs into zeros or
    infinities.
    """
    network.train()(x)
    network.eval()


def demonstration(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (n, C, T, V, M), labels and which of them are for training, of the synthetic
    recordings.
    """
    layout = skeleton.load(LAYOUT)
    synthetic.write_ntu(folder / "raw", synthetic.Synthesize())
    parse.parse(
        folder / "raw", folder / "recordings.h5", dataset="demo", format="ntu", layout=LAYOUT,
        joints=len(layout), bodies=SHAPE[3], workers=1, classes=CLASSES, class_count=len(CLASSES),
    )  # fmt: skip
    with Store(folder / "recordings.h5") as store:
        found = [
            (store[i], clips.frame50(store[i], layout, SHAPE[3], clips.Prepare()))
            for i in range(len(store))
        ]
    kept = [(recording, clip) for recording, clip in found if clip is not None]
    subjects = sorted({int(recording.columns["subject"]) for recording, _ in kept})
    x = torch.from_numpy(np.stack([clip for _, clip in kept])).float()
    train = [subjects.index(int(recording.columns["subject"])) % 3 != 2 for recording, _ in kept]
    return x, torch.tensor([recording.label for recording, _ in kept]), torch.tensor(train)


def teach(student: Student, x: Tensor, labels: Tensor, epochs: int) -> None:
    """Cross-entropy on the clips as they are: some accuracy in a minute, so that a loss of it
    would show.
    """

    def loss(step: training.Step) -> Tensor:
        return F.cross_entropy(student(x[step.index]).float(), labels[step.index])

    how, run = (
        training.Fit(epochs=epochs, batch_size=16, learning_rate=0.01),
        training.Run(precision="auto"),
    )
    training.fit(
        student, loss, len(x), how, run=run, device=torch.device("cpu"), seed=1, label="student"
    )


def made_of(
    name: str, network: Student | Teacher, calibration: Tensor, folder: Path
) -> dict[tuple[str, str], Form]:
    """Everything a network can be run as, by (form, dtype); each takes clips and gives logits."""
    wanted = [form for form in FORMS if form != "compiled" or name == "student"]
    if not edge.available():
        print(f"left out: {name} in ONNX: the extra `edge` is not installed", flush=True)
        wanted = [form for form in wanted if form not in FILES]
    found, missing = forms.make(wanted, network, calibration, folder, name)
    for form, reason in missing.items():
        print(f"left out: {name} {form}: {reason}", flush=True)
    made = {CALLED[form]: answer for form, answer in found.items()}
    if training.Run(precision="auto").settled(torch.device("cpu")) == "bf16":
        made["compact", "bf16"] = inference.compact(network, SHAPE, torch.bfloat16)
    return made


def timed(
    name: str, made: dict[tuple[str, str], Form], plain: Form, clip: Tensor, who: str, rounds: int
) -> list[Result]:
    """Clips a second of every form beside the plain teacher."""

    def often(form: Form) -> Callable[[], None]:
        def work() -> None:
            for _ in range(CALLS):
                form(clip)

        return work

    found = []
    for (form, dtype), network in made.items():
        times = compare(often(network), often(plain), rounds)
        case = f"{name}, {who}: {form}"
        found.append(times.result("inference", case, per_second=CALLS, unit="clips/s", dtype=dtype))
    return found


def accuracies(made: dict[tuple[str, str], Form], x: Tensor, labels: Tensor) -> list[Result]:
    """Accuracy of the student's forms beside that of the eager one, and how often both say the
    same.
    """
    truth = labels.numpy()
    logits = {key: np.asarray(torch.as_tensor(network(x))) for key, network in made.items()}
    reference = logits.pop(("eager", "fp32"))
    expected = evaluation.score(reference, truth)["accuracy"]
    found = []
    for (form, dtype), own in logits.items():
        accuracy = evaluation.score(own, truth)["accuracy"]
        for case, ours, beside in (
            (f"student, accuracy: {form}, beside eager", accuracy, expected),
            (f"student, same class as eager: {form}", evaluation.agreement(own, reference), 100.0),
        ):
            unit = f"% of {len(x)} clips"
            found.append(
                Result(
                    topic="inference", case=case, unit=unit, ours=ours, baseline=beside, dtype=dtype
                )
            )
    return found


def features(encoder: STGCN, x: Tensor, rounds: int) -> Result:
    """Frozen features of many clips, most of them of one person."""
    single = (~x[..., 1].flatten(1).any(dim=1)).float().mean()
    plain = PlainSTGCN(encoder).eval()
    times = compare(
        lambda: evaluation.embed(encoder, x, backbones.pool),
        lambda: evaluation.forward(plain, x),
        rounds,
    )
    case = f"frozen features, {single:.0%} of the clips with one person"
    return times.result("inference", case, per_second=len(x), unit="clips/s")


@torch.no_grad()
def run(full: bool) -> list[Result]:
    """Forms of teacher and student on a clip of one person and of two, then the student's accuracy
    in each.
    """
    layout, rounds = skeleton.load(LAYOUT), 21 if full else 5
    torch.manual_seed(1)
    with threads(1), tempfile.TemporaryDirectory() as made_here:
        folder = Path(made_here)
        x, labels, is_train = demonstration(folder)
        train, test = x[is_train], x[~is_train]
        how = Distill(epochs=1, batch_size=2, learning_rate=0.1, dropout=0.0)
        student = Student(layout, len(CLASSES), how)
        with torch.enable_grad():
            teach(student, train, labels[is_train], 30 if full else 6)
        first, second = (backbones.build(layout, StackArchitecture()) for _ in range(2))
        teacher = Teacher(first, second, AlignedClassifier(first.dim, len(CLASSES), Alignment()))
        settle(teacher, train[:16])
        plain = PlainTeacher(teacher).eval()
        torch.testing.assert_close(plain(test[:4]), teacher(test[:4]), rtol=1e-3, atol=1e-4)
        two = test[test[..., 1].flatten(1).any(dim=1)][:1]
        one = two * torch.tensor([1.0, 0.0])
        results = [features(cast(STGCN, first), test if full else test[:32], rounds)]
        for name, network in (("teacher", teacher), ("student", student)):
            every = made_of(
                name, network, train if full or name == "student" else train[:64], folder
            )
            for who, clip in (("one person", one), ("two people", two)):
                results += timed(name, every, plain, clip, who, rounds)
            if name == "student":
                results += accuracies(every, test, labels[~is_train])
    return results
