from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import BatchNorm1d

from asma import losses


def naive_barlow_twins(a: Tensor, b: Tensor, redundancy: float) -> Tensor:
    """Eq. 5–7 entry by entry, with the whole P × P matrix."""
    N, P = a.shape
    loss = a.new_zeros(())
    for i in range(P):
        for j in range(P):
            entry = sum((a[n, i] * b[n, j] for n in range(N)), a.new_zeros(())) / N
            loss = loss + ((1 - entry) ** 2 if i == j else redundancy * entry**2)
    return loss


def embeddings(generator: Generator, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    a = torch.randn(6, 5, generator=generator, dtype=dtype)
    return a, a + 0.5 * torch.randn(6, 5, generator=generator, dtype=dtype)


def hadamard() -> Tensor:
    """Four columns of ±1, of mean zero and without correlation, over eight samples."""
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(torch.kron(two, two), two)[:, 1:5]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("redundancy", [0.0, 2e-4, 1.0])
def test_barlow_twins_equals_the_naive_form_in_value_and_gradient(
    dtype: torch.dtype, tolerance: float, redundancy: float, generator: Generator
) -> None:
    a, b = (z.requires_grad_() for z in embeddings(generator, dtype))
    expected = naive_barlow_twins(a, b, redundancy)
    of_expected = torch.autograd.grad(expected, (a, b))
    found = losses.barlow_twins(a, b, redundancy)
    of_found = torch.autograd.grad(found, (a, b))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for x, y in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def test_barlow_twins_through_the_standardisation_has_the_naive_gradient(
    generator: Generator,
) -> None:
    raw, other = (z.requires_grad_() for z in embeddings(generator, torch.float32))

    def slow(z: Tensor) -> Tensor:
        columns = []
        for i in range(z.shape[1]):
            mean = z[:, i].sum() / len(z)
            variance = ((z[:, i] - mean) ** 2).sum() / len(z)
            columns.append((z[:, i] - mean) / torch.sqrt(variance + 1e-5))
        return torch.stack(columns, dim=1)

    expected = torch.autograd.grad(naive_barlow_twins(slow(raw), slow(other), 0.1), raw)[0]
    loss = losses.barlow_twins(losses.standardise(raw), losses.standardise(other), 0.1)
    torch.testing.assert_close(torch.autograd.grad(loss, raw)[0], expected, rtol=1e-4, atol=1e-5)


def test_equal_embeddings_without_correlation_cost_nothing() -> None:
    z = hadamard()
    assert losses.barlow_twins(z, z, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_opposite_embeddings_cost_four_a_dimension_and_independent_ones_one() -> None:
    z = hadamard()
    assert losses.barlow_twins(z, -z, 1.0).item() == pytest.approx(4 * 4)
    assert losses.barlow_twins(z[:, :2], z[:, 2:], 1.0).item() == pytest.approx(2)


def test_a_dimension_said_twice_costs_lambda_for_each_place_off_the_diagonal() -> None:
    z = hadamard()[:, [0, 0, 1]]
    assert losses.barlow_twins(z, z, 0.25).item() == pytest.approx(0.25 * 2)


def test_the_order_of_the_batch_and_of_the_two_embeddings_does_not_matter(
    generator: Generator,
) -> None:
    a, b = embeddings(generator)
    shuffled = torch.randperm(6, generator=generator)
    expected = losses.barlow_twins(a, b, 0.3)
    torch.testing.assert_close(losses.barlow_twins(a[shuffled], b[shuffled], 0.3), expected)
    torch.testing.assert_close(losses.barlow_twins(b, a, 0.3), expected)
    columns = torch.randperm(5, generator=generator)
    torch.testing.assert_close(losses.barlow_twins(a[:, columns], b[:, columns], 0.3), expected)
    # but pairs must stay pairs
    assert not torch.isclose(losses.barlow_twins(a[shuffled], b, 0.3), expected)


def test_standardise_is_batch_normalisation_without_weights(generator: Generator) -> None:
    z = torch.randn(16, 7, generator=generator) * 3 + 2
    torch.testing.assert_close(losses.standardise(z), BatchNorm1d(7, affine=False)(z))


def test_standardised_columns_are_blind_to_scale_and_shift(generator: Generator) -> None:
    z = torch.randn(16, 7, generator=generator)
    changed = z * torch.linspace(0.5, 50, 7) + torch.linspace(-3, 3, 7)
    torch.testing.assert_close(
        losses.standardise(changed), losses.standardise(z), atol=1e-3, rtol=1e-3
    )


def test_sixteen_bit_embeddings_are_standardised_in_full_precision(generator: Generator) -> None:
    z = torch.randn(16, 7, generator=generator).bfloat16()
    found = losses.standardise(z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, losses.standardise(z.float()))


def test_equation_5_to_the_letter_scales_columns_and_leaves_their_mean(
    generator: Generator,
) -> None:
    z = torch.randn(6, 5, generator=generator) + 1
    found = losses.standardise(z, centre=False)
    for i in range(5):
        length = math.sqrt(sum(float(v) ** 2 for v in z[:, i]) / 6)
        assert found[:, i].tolist() == pytest.approx((z[:, i] / length).tolist(), rel=1e-5)


def test_equation_5_to_the_letter_gives_the_matrix_of_the_paper(generator: Generator) -> None:
    a, b = embeddings(generator, torch.float32)
    found = losses.standardise(a, centre=False).T @ losses.standardise(b, centre=False) / 6
    for i in range(5):
        for j in range(5):
            top = sum(float(a[n, i] * b[n, j]) for n in range(6))
            lengths = math.sqrt(sum(float(v) ** 2 for v in a[:, i])) * math.sqrt(
                sum(float(v) ** 2 for v in b[:, j])
            )
            assert found[i, j].item() == pytest.approx(top / lengths, abs=1e-5)


def test_without_centring_a_constant_part_stays_and_the_loss_cannot_vanish(
    generator: Generator,
) -> None:
    # Eq. 5 as printed and the code of the method's family differ: a shift of the embedding counts
    # in the one only.
    z = hadamard()
    shifted = z + 10
    centred, literal = (losses.standardise(shifted, centre) for centre in (True, False))
    assert losses.barlow_twins(centred, centred, 1.0).item() == pytest.approx(0, abs=1e-4)
    # off the diagonal every entry is 100 / 101: mean² over mean square
    assert losses.barlow_twins(literal, literal, 1.0).item() == pytest.approx(
        4 * 3 * (100 / 101) ** 2, rel=1e-4
    )
    # the two agree where the mean is zero already
    torch.testing.assert_close(
        losses.standardise(z, False), losses.standardise(z), atol=1e-4, rtol=0
    )


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


@pytest.mark.parametrize("direction", losses.DIRECTIONS)
@pytest.mark.parametrize("tempered", losses.TEMPERED)
@pytest.mark.parametrize("scaled", [False, True])
def test_distillation_equals_the_divergence_written_out(
    direction: str, tempered: str, scaled: bool, generator: Generator
) -> None:
    student, teacher = torch.randn(2, 4, 5, generator=generator) * 3
    tau = 2.5
    total = 0.0
    for n in range(4):
        t = softmax([v / tau for v in teacher[n].tolist()])
        s = softmax([v / (tau if tempered == "both" else 1) for v in student[n].tolist()])
        p, q = (t, s) if direction == "forward" else (s, t)
        total += sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))
    expected = total / 4 * (tau**2 if scaled else 1)
    found = losses.distillation(student, teacher, tau, direction, tempered, scaled)
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("direction", losses.DIRECTIONS)
def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn(
    direction: str, generator: Generator
) -> None:
    teacher = torch.randn(4, 5, generator=generator)
    student = (teacher + 3).requires_grad_()  # a constant changes no class
    loss = losses.distillation(student, teacher, 4.0, direction)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-6


def test_by_default_the_divergence_is_forward_and_tempers_both(generator: Generator) -> None:
    student, teacher = torch.randn(2, 4, 5, generator=generator)
    expected = losses.distillation(student, teacher, 3.0, "forward", "both", False)
    assert torch.equal(losses.distillation(student, teacher, 3.0), expected)
    assert not torch.isclose(losses.distillation(student, teacher, 3.0, "reverse"), expected)
    assert not torch.isclose(
        losses.distillation(student, teacher, 3.0, tempered="teacher"), expected
    )


@pytest.mark.parametrize("words", [{"direction": "backward"}, {"tempered": "student"}])
def test_another_word_is_an_error(words: dict[str, str]) -> None:
    z = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=f"found .*{next(iter(words.values()))}.*expected one of"):
        losses.distillation(z, z, 1.0, **words)  # type: ignore[arg-type]  # words by name


def test_feature_distillation_equals_one_less_the_cosine_written_out(generator: Generator) -> None:
    student, teacher = torch.randn(2, 4, 5, generator=generator)
    total = 0.0
    for n in range(4):
        product = sum(float(a) * float(b) for a, b in zip(student[n], teacher[n], strict=True))
        lengths = [math.sqrt(sum(float(v) ** 2 for v in row)) for row in (student[n], teacher[n])]
        total += 1 - product / (lengths[0] * lengths[1])
    assert losses.feature_distillation(student, teacher).item() == pytest.approx(
        total / 4, rel=1e-5
    )


def test_feature_distillation_is_blind_to_the_length_of_each_embedding(
    generator: Generator,
) -> None:
    student, teacher = torch.randn(2, 4, 5, generator=generator)
    expected = losses.feature_distillation(student, teacher)
    scale = torch.tensor([0.01, 1.0, 7.0, 300.0])[:, None]
    torch.testing.assert_close(losses.feature_distillation(student * scale, teacher), expected)
    torch.testing.assert_close(losses.feature_distillation(student, teacher * scale), expected)
    assert not torch.isclose(losses.feature_distillation(student + 1, teacher), expected)


def test_feature_distillation_ends_where_the_directions_agree(generator: Generator) -> None:
    teacher = torch.randn(4, 5, generator=generator)
    student = (3 * teacher).requires_grad_()
    loss = losses.feature_distillation(student, teacher)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-6
    assert losses.feature_distillation(-teacher, teacher).item() == pytest.approx(2)
