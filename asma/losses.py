"""Losses as functions of tensors; they own no weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECTIONS = ("forward", "reverse")
TEMPERED = ("both", "teacher")


def full(z: Tensor) -> Tensor:
    """The same in at least 32 bits, whatever the precision of the products that made it."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def standardise(z: Tensor, centre: bool = True, epsilon: float = 1e-5) -> Tensor:
    """Columns of z (N, P) brought to length √N, in at least 32 bits.

    centre: to mean 0 and variance 1 over the batch (biased, with BatchNorm1d's epsilon), as the
    code of the method's family does. Without, the columns are only scaled: Eq. 5 to the letter,
    where a constant part of the embedding stays in and no off-diagonal entry can vanish.
    """
    z = full(z)
    if centre:
        variance, mean = torch.var_mean(z, dim=0, correction=0)
        return (z - mean) * torch.rsqrt(variance + epsilon)
    return z * torch.rsqrt(z.square().mean(dim=0).clamp_min(torch.finfo(z.dtype).tiny))


def barlow_twins(a: Tensor, b: Tensor, redundancy: float) -> Tensor:
    """Barlow Twins between two standardised embeddings (N, P), Eq. 5–7: a scalar.

    With C = aᵀb / N the loss is Σᵢ (1 − Cᵢᵢ)² + λ Σ_{i≠j} Cᵢⱼ², summed, not averaged. The P × P
    matrix is never built: ‖aᵀb‖² = ⟨aaᵀ, bbᵀ⟩ needs only N × N, and only the diagonal of C is
    wanted besides.
    """
    N = len(a)
    diagonal = (a * b).sum(dim=0) / N
    square = ((a @ a.T) * (b @ b.T)).sum() / N**2
    on = (1 - diagonal).square().sum()
    off = square - diagonal.square().sum()
    return on + redundancy * off


def normalised(z: Tensor) -> Tensor:
    """z (N, D) over its length, in at least 32 bits."""
    return F.normalize(full(z))


def contrasts(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Similarities of each query to its own key and to the negatives, over the temperature.

    query, key (N, D) and negatives (K, D), all of length 1 → logits (N, 1 + K), the key's first:
    [z_q · z_k, z_q · Q] / τ (He et al., CVPR 2020, Eq. 1).
    """
    own = (query * key).sum(dim=1, keepdim=True)
    return torch.cat([own, query @ negatives.T], dim=1) / temperature


def info_nce(logits: Tensor) -> Tensor:
    """Cross-entropy of `contrasts` (N, 1 + K) with the key, column 0, as the class: batch mean."""
    return -F.log_softmax(logits, dim=1)[:, 0].mean()


def distillation(
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    direction: str = "forward",
    tempered: str = "both",
    scaled: bool = False,
) -> Tensor:
    """Kullback–Leibler divergence between the classes of teacher and student logits (N, K), Eq.
    13–14: batch mean.

    direction `forward` is KL(teacher ‖ student), the usual form; `reverse` is KL(student ‖
    teacher), Eq. 14 to the letter. tempered `both` divides both logits by the temperature;
    `teacher` only the teacher's, Eq. 13 to the letter. scaled multiplies by temperature², which
    the paper does not mention. Raises ValueError on another word.
    """
    if direction not in DIRECTIONS or tempered not in TEMPERED:
        raise ValueError(
            f"found {direction!r}, {tempered!r}; expected one of {DIRECTIONS} and one of {TEMPERED}"
        )
    log_t = F.log_softmax(teacher / temperature, dim=1)
    log_s = F.log_softmax(student / temperature if tempered == "both" else student, dim=1)
    if direction == "reverse":
        log_t, log_s = log_s, log_t
    divergence = F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)
    return divergence * temperature**2 if scaled else divergence


def feature_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − cosine of student and teacher embeddings (N, D), both L2-normalised, Appendix C: batch
    mean, 0 to 2.
    """
    return 1 - (F.normalize(student.float()) * F.normalize(teacher.float())).sum(dim=1).mean()
