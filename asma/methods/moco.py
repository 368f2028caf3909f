"""What learns by contrast with a queue has in common (MoCo, He et al., CVPR 2020).

A step, in this order: queries are encoded; key encoders, which follow the query encoders slowly,
encode the keys without gradients; queries are compared with their own keys and with the queue as
it was before this step; when the weights have moved, key encoders follow them and the keys of the
step enter the queue. Methods differ in which similarities they combine to a loss.

Published code moves the key encoders within the step, after the queries. Here they move at the end
of the step before, by the same weights: the keys are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from asma import losses, streams
from asma.backbones.base import Encoder
from asma.methods.base import Method, Pretrain, TrainingClips
from asma.training import expect_one_of
from asma.views import ViewConfig

KEY_INITS = ("copy", "independent")


@dataclass(frozen=True, kw_only=True)
class MocoSettings(Pretrain):
    """What every method with a queue has in its section `pretrain`."""

    temperature: float = 0.07  # τ of the similarities
    key_momentum: float = 0.999  # m of θ_k ← m·θ_k + (1 − m)·θ_q
    key_init: str = "copy"  # of the queries, as papers say; or independent, as some code does
    queue: int = 32768  # K, keys in it; never more than half of the training clips
    projection: int = 128  # width of what is compared
    init_deviation: float = 0.02  # of weights drawn from a normal distribution; 0 = torch's own

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("queue", 1), ("projection", 1), ("init_deviation", 0)):
            if not getattr(self, key) >= least:
                value = getattr(self, key)
                raise ValueError(f"pretrain.{key}: found {value}, expected {least} or more")
        if not self.temperature > 0:
            raise ValueError(f"pretrain.temperature: found {self.temperature}, expected above 0")
        if not 0 <= self.key_momentum <= 1:
            raise ValueError(f"pretrain.key_momentum: found {self.key_momentum}, expected 0 to 1")
        expect_one_of("pretrain.key_init", self.key_init, KEY_INITS)


class Queue(nn.Module):
    """The last K keys, all of it buffers; until they have come, random ones in their place."""

    keys: Tensor  # (K, D) of length 1
    written: Tensor  # int64, how many keys have ever entered

    def __init__(self, size: int, dim: int) -> None:
        """size: K; the random keys are drawn by torch's own generator."""
        super().__init__()
        self.register_buffer("keys", losses.normalised(torch.randn(size, dim)))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @property
    def pointer(self) -> Tensor:
        """Where the next key goes, int64: the place of the oldest."""
        return self.written % len(self.keys)

    @property
    def filled(self) -> Tensor:
        """How many of the keys are of clips, int64; the others are random."""
        return self.written.clamp(max=len(self.keys))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put keys (N, D) in the place of the oldest; of more than K the last K remain."""
        self.written += max(0, len(keys) - len(self.keys))
        keys = keys[-len(self.keys) :].to(self.keys.dtype)
        place = (self.pointer + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys.index_copy_(0, place, keys)
        self.written += len(keys)


def queue_size(asked: int, clips: int) -> int:
    """K for a set of so many clips: what is asked for, and at most half of the set.

    A larger one would hold clips of the batch itself as their own negatives. Says so where it is
    shortened. Raises ValueError where the set has fewer than two clips.
    """
    if clips < 2:
        raise ValueError(f"pretrain.queue: found {clips} clips to learn from, expected 2 or more")
    size = min(asked, clips // 2)
    if size < asked:
        half = f"expected at most half of the {clips} clips: the last {size} keys are kept"
        print(f"pretrain.queue: found {asked}, {half}", flush=True)
    return size


def head(dim: int, width: int) -> nn.Sequential:
    """The map from embeddings to what is compared: dim → dim → width, ReLU between."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, width))


@torch.no_grad()
def initialise(module: nn.Module, deviation: float) -> None:
    """Draw weights anew, by torch's own generator; parameters of other modules stay as they are.

    As the code of AimCLR and CrosSCLR does: N(0, deviation) for maps and N(1, deviation) for
    normalisations, biases 0. With a deviation of 0 each as torch makes it.
    """
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    for part in module.modules():
        if not deviation:
            getattr(part, "reset_parameters", lambda: None)()
        elif isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d, *norms)):
            nn.init.normal_(part.weight, 1.0 if isinstance(part, norms) else 0.0, deviation)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


@torch.no_grad()
def follow(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """θ_k ← m·θ_k + (1 − m)·θ_q over all parameters; statistics of normalisations stay."""
    for slow, fast in zip(key.parameters(), query.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


class Moco(Method):
    """Query and key encoders with their heads and a queue, each by stream.

    Streams are derived from augmented joints, as the published code of the family does. Key
    encoders are in training mode with dropout and statistics of their own.
    """

    Settings: ClassVar[type[Pretrain]] = MocoSettings
    settings: MocoSettings
    curve = "info_nce"

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        settings: MocoSettings,
        views: ViewConfig,
    ) -> None:
        super().__init__(encoders, settings, views)
        self.view_config = views
        heads = {name: head(one.dim, settings.projection) for name, one in encoders.items()}
        self.heads = nn.ModuleDict(heads)
        for module in (self.encoders, self.heads):
            initialise(module, settings.init_deviation)
        self.key_encoders = copy.deepcopy(self.encoders).requires_grad_(False)
        self.key_heads = copy.deepcopy(self.heads).requires_grad_(False)
        self.queues = nn.ModuleDict()
        self._waiting: dict[str, list[Tensor]] = {}  # keys of this step, empty between steps
        if settings.key_init == "independent":
            for module in (self.key_encoders, self.key_heads):
                initialise(module, settings.init_deviation)
            self._follow()  # published code does so in its first step

    @classmethod
    def inputs(cls, streams: Sequence[str]) -> tuple[str, ...]:
        return ("joint",)

    def begin(self, train: TrainingClips) -> None:
        size = queue_size(self.settings.queue, len(train))
        for stream in self.encoders:
            queue = Queue(size, self.settings.projection)
            self.queues[stream] = queue.to(train.labels.device)

    def derived(self, joints: Tensor) -> dict[str, Tensor]:
        """The encoders' streams of a view of the joints, (N, 3, T, V, M) each."""
        skeleton = self.view_config.skeleton
        return {name: streams.derive(name, joints, skeleton) for name in self.encoders}

    def queries(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is compared of views by stream, (N, D) of length 1, float32."""
        return {name: _embed(self.encoders[name], self.heads[name], x[name]) for name in x}

    @torch.no_grad()
    def keys(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same by the key encoders; these keys enter the queues when the step is over."""
        keys = {}
        for name in x:
            keys[name] = _embed(self.key_encoders[name], self.key_heads[name], x[name])
            self._waiting.setdefault(name, []).append(keys[name])
        return keys

    def contrasts(self, stream: str, query: Tensor, key: Tensor) -> Tensor:
        """Similarities of queries (N, D) to their keys and the queue, over τ: (N, 1 + K)."""
        queue = cast(Queue, self.queues[stream])
        with torch.autocast(query.device.type, enabled=False):
            return losses.contrasts(query, key, queue.keys, self.settings.temperature)

    def after_step(self) -> None:
        self._follow()
        for name, keys in self._waiting.items():
            cast(Queue, self.queues[name]).enqueue(torch.cat(keys))
        self._waiting.clear()

    def _follow(self) -> None:
        for key, query in ((self.key_encoders, self.encoders), (self.key_heads, self.heads)):
            follow(key, query, self.settings.key_momentum)

    def about(self) -> dict[str, Any]:
        sizes = {len(cast(Queue, queue).keys) for queue in self.queues.values()}
        return {"queue": max(sizes)} if sizes else {}


def _embed(encoder: nn.Module, to: nn.Module, x: Tensor) -> Tensor:
    return losses.normalised(to(cast(Encoder, encoder).pool(encoder(x))))
