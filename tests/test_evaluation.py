from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from asma import evaluation
from asma.evaluation import MismatchError


def slow_accuracy(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    right = 0
    for row, label in zip(logits, labels, strict=True):
        rivals = [c for c in range(len(row)) if c != label and row[c] >= row[label]]
        right += len(rivals) < k
    return 100 * right / len(labels)


@pytest.mark.parametrize("classes", [3, 7, 20])
def test_accuracy_is_the_share_of_all_samples(classes: int) -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(101, classes)).astype(np.float32)
    labels = draw.integers(0, classes, 101)
    logits[np.arange(101), labels] += 1
    found = evaluation.score(logits, labels)
    assert found["accuracy"] == pytest.approx(slow_accuracy(logits, labels, 1))
    assert found["top5"] == pytest.approx(slow_accuracy(logits, labels, min(5, classes)))
    assert 0 < found["accuracy"] <= found["top5"]


def test_accuracy_is_no_mean_of_batch_means() -> None:
    # a batch of two and one of one: means 100 and 0
    logits = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert evaluation.score(logits, np.array([0, 0, 0]))["accuracy"] == pytest.approx(100 * 2 / 3)


def test_a_tie_is_no_hit() -> None:
    logits = np.zeros((4, 10), np.float32)
    assert evaluation.score(logits, np.array([0, 3, 5, 9])) == {"accuracy": 0.0, "top5": 0.0}
    logits[:, 5:] = -1
    logits[:, 0] = 1  # the true class shares the second place with three others
    assert evaluation.score(logits, np.array([1, 2, 3, 4])) == {"accuracy": 0.0, "top5": 100.0}


def test_logits_that_are_no_numbers_are_an_error_and_not_a_hit() -> None:
    logits = np.array([[np.nan, np.nan], [1, 0], [0, np.nan]], np.float32)
    with pytest.raises(ValueError, match="logits: found NaN for 2 of 3 samples"):
        evaluation.score(logits, np.array([0, 0, 0]))


def test_a_sample_is_put_into_its_class_only_where_that_is_strictly_ahead() -> None:
    logits = np.array(
        [[1.0, 2.0, 0.0], [2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]]
    )
    assert evaluation.answers(logits, np.array([1, 0, 1, 2, 2])).tolist() == [1, 1, 0, 0, 0]
    every = np.random.default_rng(0).normal(size=(40, 6))
    assert (evaluation.answers(every, np.zeros(40, int)) == every.argmax(axis=1)).all()


def test_adding_a_constant_to_a_samples_logits_changes_nothing() -> None:
    draw = np.random.default_rng(1)
    logits, labels = draw.normal(size=(30, 6)), draw.integers(0, 6, 30)
    assert evaluation.score(logits + draw.normal(size=(30, 1)), labels) == evaluation.score(
        logits, labels
    )


def cosine(a: Tensor, b: Tensor) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True))) / math.sqrt(
        float((a * a).sum() * (b * b).sum())
    )


def test_logits_agree_where_their_largest_is_in_one_place() -> None:
    a = np.array([[1.0, 2.0, 0.0], [5.0, 4.0, 3.0], [0.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    assert evaluation.agreement(a, 7 * a - 3) == 100
    assert evaluation.agreement(a, a[:, ::-1]) == 25  # only the first keeps its middle class


def test_the_nearest_neighbour_is_found_by_cosine(generator: Generator) -> None:
    train, test = torch.randn(12, 4, generator=generator), torch.randn(5, 4, generator=generator)
    labels = torch.arange(12) % 3
    found = evaluation.nearest(train, test, labels, classes=4)
    for n in range(5):
        for c in range(3):
            best = max(cosine(test[n], train[i]) for i in range(12) if labels[i] == c)
            assert found[n, c].item() == pytest.approx(best, abs=1e-5)
        assert found[n, 3] < -1  # nobody of this class


@pytest.mark.parametrize("k", [2, 5, 12])
def test_of_several_neighbours_the_majority_decides_and_then_their_similarity(
    k: int, generator: Generator
) -> None:
    train, test = torch.randn(12, 4, generator=generator), torch.randn(40, 4, generator=generator)
    labels = torch.arange(12) % 3
    found = evaluation.nearest(train, test, labels, classes=4, k=k)
    ties = 0
    for n in range(40):
        near = sorted(range(12), key=lambda i: -cosine(test[n], train[i]))[:k]
        votes = [sum(int(labels[i]) == c for i in near) for c in range(4)]
        together = [
            sum(cosine(test[n], train[i]) for i in near if labels[i] == c) for c in range(4)
        ]
        order = sorted(range(3), key=lambda c: (votes[c], together[c]))
        ties += votes[order[-1]] == votes[order[-2]]
        assert found[n].argmax() == order[-1]
        assert found[n].round().tolist() == votes
    assert ties > 0


def test_opposite_neighbours_are_worth_their_vote_all_the_same() -> None:
    train, labels = torch.tensor([[-1.0, 0.1], [-1.0, 0.0], [-1.0, -0.1]]), torch.tensor([0, 1, 1])
    found = evaluation.nearest(train, torch.tensor([[1.0, 0.0]]), labels, classes=3, k=3)
    assert found.argsort(descending=True).tolist() == [[1, 0, 2]]


@pytest.mark.parametrize("k", [0, 7])
def test_more_neighbours_than_there_are_recordings_is_an_error(k: int) -> None:
    x, labels = torch.ones(6, 2), torch.arange(6) % 2
    with pytest.raises(
        ValueError, match=f"probe.neighbours: found {k}, expected 1 to 6, the number of training"
    ):
        evaluation.nearest(x, x, labels, classes=2, k=k)
    evaluation.nearest(x, x, labels, classes=2, k=6)


def test_neighbours_do_not_see_the_length_of_features(generator: Generator) -> None:
    train, test = torch.randn(6, 4, generator=generator), torch.randn(3, 4, generator=generator)
    labels = torch.arange(6) % 2
    expected = evaluation.nearest(train, test, labels, 2)
    longer = evaluation.nearest(train * torch.arange(1.0, 7.0)[:, None], 9 * test, labels, 2)
    torch.testing.assert_close(longer, expected)


def test_a_module_is_run_in_batches_without_learning(generator: Generator) -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2), nn.Dropout(0.9)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    x = torch.randn(7, 4, generator=generator)
    one, two = evaluation.forward(net, x), evaluation.forward(net, x, batch_size=3)
    torch.testing.assert_close(one, two)
    assert not one.requires_grad and not net.training
    embedded = evaluation.embed(net.train(), x, lambda h: 2 * h, batch_size=3)
    torch.testing.assert_close(embedded, 2 * one)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


NAMES = ["b", "a", "c"]
LABELS = np.array([1, 0, 2])
LOGITS = {"linear": np.arange(9.0).reshape(3, 3), "knn": np.ones((3, 3), np.float32)}


def test_logits_come_back_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "logits.npz"
    evaluation.save_logits(path, NAMES, LABELS, LOGITS)
    names, labels, logits = evaluation.load_logits(path)
    assert names == NAMES and labels.dtype == np.int64
    np.testing.assert_array_equal(labels, LABELS)
    assert list(logits) == ["linear", "knn"]
    for mode, values in logits.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, LOGITS[mode])


def test_the_same_logits_give_the_same_bytes_and_no_pickle(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        evaluation.save_logits(tmp_path / name, NAMES, LABELS, LOGITS)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as file:
        for entry in file.infolist():
            np.load(io.BytesIO(file.read(entry)), allow_pickle=False)


def test_a_pickle_in_a_file_of_logits_is_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "bad.npz", names=np.array(["a"], dtype=object), labels=np.zeros(1, np.int64)
    )
    with pytest.raises(ValueError, match="allow_pickle"):
        evaluation.load_logits(tmp_path / "bad.npz")


def test_two_lists_must_name_the_same_recordings_in_the_same_order() -> None:
    evaluation.same_recordings(["a", "b"], ["a", "b"], "here")
    with pytest.raises(
        MismatchError, match="here: found logits of 1 recordings, expected 2: missing b"
    ):
        evaluation.same_recordings(["a", "b"], ["a"], "here")
    with pytest.raises(MismatchError, match="unexpected c"):
        evaluation.same_recordings(["a", "b"], ["a", "b", "c"], "here")
    with pytest.raises(MismatchError, match="the same names in another order"):
        evaluation.same_recordings(["a", "b"], ["b", "a"], "here")


def test_classes_that_were_never_seen_score_below_all_others() -> None:
    decision = np.array([[0.5, -2.0], [-1.0, 3.0]])
    found = evaluation.full_logits(decision, np.array([1, 3]), 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, [1, 3]], decision)
    assert (found[:, [0, 2, 4]] < decision.min()).all()


def test_a_decision_between_two_classes_is_one_number() -> None:
    found = evaluation.full_logits(np.array([0.5, -2.0]), np.array([0, 2]), 3)
    assert found.argmax(axis=1).tolist() == [2, 0]
    np.testing.assert_allclose(found[:, 2], [0.5, -2.0])


def streams() -> dict[str, tuple[list[str], np.ndarray]]:
    draw = np.random.default_rng(2)
    return {
        stream: (["a", "b", "c", "d"], draw.normal(size=(4, 3)))
        for stream in ("joint", "bone", "motion")
    }


WEIGHTS = {"joint": 0.6, "bone": 0.6, "motion": 0.4}


def test_an_ensemble_is_the_weighted_sum_of_a_recordings_logits() -> None:
    parts = streams()
    names, found = evaluation.ensemble(parts, WEIGHTS)
    assert names == ["a", "b", "c", "d"]
    for n in range(4):
        for c in range(3):
            expected = (
                0.6 * parts["joint"][1][n, c]
                + 0.6 * parts["bone"][1][n, c]
                + 0.4 * parts["motion"][1][n, c]
            )
            assert found[n, c] == pytest.approx(expected)


def test_recordings_are_matched_by_name_and_not_by_place() -> None:
    parts = streams()
    expected = evaluation.ensemble(parts, WEIGHTS)[1]
    shuffled = [2, 0, 3, 1]
    names, logits = parts["bone"]
    parts["bone"] = ([names[i] for i in shuffled], logits[shuffled])
    np.testing.assert_allclose(evaluation.ensemble(parts, WEIGHTS)[1], expected)
    names, logits = parts["joint"]
    parts["joint"] = ([names[i] for i in shuffled], logits[shuffled])
    names, found = evaluation.ensemble(parts, WEIGHTS)
    assert names == ["c", "a", "d", "b"]  # the order of the first stream
    np.testing.assert_allclose(found, expected[shuffled])


def test_streams_of_other_recordings_are_an_error_that_names_the_missing() -> None:
    parts = streams()
    parts["bone"] = (["a", "b", "c", "e"], parts["bone"][1])
    parts["motion"] = (["a", "d"], parts["motion"][1][:2])
    with pytest.raises(MismatchError) as caught:
        evaluation.ensemble(parts, WEIGHTS)
    text = str(caught.value)
    for complaint in (
        "joint lacks 1 recordings: e",
        "bone lacks 1 recordings: d",
        "motion lacks 3 recordings: b, c, e",
    ):
        assert complaint in text


def test_a_stream_without_a_weight_is_an_error() -> None:
    with pytest.raises(MismatchError, match="ensemble.weights: no weight for motion"):
        evaluation.ensemble(streams(), {"joint": 1.0, "bone": 1.0})
