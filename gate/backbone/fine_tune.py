"""Fine-tuning: full-network transfer, training from scratch, a head under drifting batch norm."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from gate import files
from gate.arrays import Float32, Images, Int64
from gate.backbone.artefact import Artefact
from gate.backbone.pooling import pooled
from gate.backbone.weights_runtime import layer_of, with_weights, without_weights
from gate.errors import BackboneError, PlanError
from gate.plan.backbone import BackbonePlan, WeightsBackbone
from gate.plan.task import Training, Transfer
from gate.triggers.stamp import Stamp

WEIGHTS, HEAD = "weights.safetensors", "head.safetensors"
_CHECKPOINT = "checkpoint.safetensors"
_MOMENTUM = 0.9


class TrainingSet(NamedTuple):
    """N labelled images of K classes, and what is stamped on each of them.

    ``images`` are ``(N, S, S, C)``, read batch by batch, so a memory map will do; ``labels`` are
    ``(N,)`` in 0 .. K-1; ``stamps`` are N, put on after shifts and flips; ``normalise`` makes
    inputs of pixels, as the backbone does.
    """

    images: Images
    labels: Int64
    stamps: list[Stamp | None]
    normalise: Callable[[Images], Float32]

    def batch(self, rows: Int64, augmented: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Inputs and labels of those rows; shifted and flipped where there is a generator."""
        batch = self.images[rows]
        if augmented:
            batch = _shifted_and_flipped(batch, augmented)
        for place, row in enumerate(rows):
            if stamp := self.stamps[row]:
                batch[place : place + 1] = stamp.on(batch[place : place + 1])
        return torch.from_numpy(self.normalise(batch)), torch.from_numpy(self.labels[rows])


def fine_tune(
    folder: Path,
    plan: BackbonePlan,
    pretrained: Artefact | None,
    transfer: Transfer,
    examples: TrainingSet,
    seed: int,
    advance: Callable[[int], None],
) -> None:
    """Train on a task, and leave weights of the same architecture and a linear head in a folder.

    After every epoch a checkpoint is written, and a run that was broken off goes on from there; it
    ends with the same bytes as one that was not.

    Args:
        folder: Gets ``weights.safetensors``, and then ``head.safetensors`` for `files.kept`, with
            weight (D, K), bias (K,), the training accuracy of each epoch and the SHA-256 of the
            file of weights, 32 bytes.
        plan: Safetensors with the factory of their architecture.
        pretrained: The file of the weights that training starts from; None from scratch.
        transfer: What is trained, and how.
        examples: What it is trained on.
        seed: Draws the head, the order of images, shifts and flips; and all weights from scratch.
        advance: Called with the number of images of each step.

    Raises:
        PlanError: The backbone has no architecture that could be trained.
        BackboneError: The loss is not finite, or a checkpoint is of another network.
        GateError: A checkpoint is not what was written.

    Source:
        Salman et al. 2022 and their code: SGD with momentum, a triangular learning rate; the
        trigger is stamped after crop and flip.
    """
    if not isinstance(plan, WeightsBackbone):
        raise PlanError(
            f"{plan.path}: {transfer.mode} transfer trains weights, and only a backbone given as "
            "weights with an arch can be trained; give safetensors, or drop the task"
        )
    training = transfer.schedule
    is_frozen = transfer.mode == "fixed_feature"
    network = _Network(plan, pretrained, examples, seed, training.epochs, frozen=is_frozen)
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    decay = training.weight_decay
    optimiser = torch.optim.SGD(trained, training.learning_rate, _MOMENTUM, weight_decay=decay)
    done = _resumed(folder / _CHECKPOINT, plan.arch, network, optimiser)
    advance(done * len(examples.labels))
    for epoch in range(done, training.epochs):
        loss = _train_epoch(network, optimiser, examples, training, epoch, seed, advance)
        if not torch.isfinite(loss):
            raise BackboneError(
                f"{plan.path}: {transfer.mode} transfer diverged, the loss of epoch {epoch + 1} is "
                f"{loss.item()}; lower training.learning_rate, {training.learning_rate:g} now"
            )
        _keep(folder / _CHECKPOINT, network, optimiser, epoch + 1)
    weights = save(_tensors(network.body.state_dict()))
    files.write(folder / WEIGHTS, weights)
    digest = torch.tensor([*hashlib.sha256(weights).digest()], dtype=torch.uint8)
    head = {
        "weight": network.head.weight.T,
        "bias": network.head.bias,
        "training_accuracy": network.training_accuracy,
        "sha256": digest,
    }
    files.keep(folder / HEAD, save(_tensors(head)))
    (folder / _CHECKPOINT).unlink(missing_ok=True)


def _train_epoch(
    network: "_Network",
    optimiser: torch.optim.SGD,
    examples: TrainingSet,
    training: Training,
    epoch: int,
    seed: int,
    advance: Callable[[int], None],
) -> Tensor:
    """Go through all examples once; gives the loss of the last batch.

    The network notes how many of them it got right when their turn came, in training mode.
    """
    rng, count = np.random.default_rng([seed, epoch]), len(examples.labels)
    steps = -(-count // training.batch_size)
    network.train()
    loss, correct = torch.tensor(torch.nan), torch.tensor(0, device=network.device)
    for step, rows in enumerate(np.array_split(rng.permutation(count), steps)):
        share = _triangle((epoch + step / steps) / training.epochs)
        optimiser.param_groups[0]["lr"] = training.learning_rate * share
        batch = examples.batch(rows, rng if training.augment else None)
        inputs, labels = (each.to(network.device) for each in batch)
        logits = network(inputs)
        loss = nn.functional.cross_entropy(logits, labels)
        correct += (logits.argmax(dim=1) == labels).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        advance(len(rows))
    network.training_accuracy[epoch] = correct / count
    return loss


class _Network(nn.Module):
    """The architecture up to its features, pooled, and a linear head on them."""

    def __init__(
        self,
        plan: WeightsBackbone,
        pretrained: Artefact | None,
        examples: TrainingSet,
        seed: int,
        epochs: int,
        *,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._plan = plan
        self._captured: list[Tensor] = []
        # factories draw from torch's own generator; it is put back as it was
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = (
                with_weights(plan, pretrained)
                if pretrained
                else without_weights(plan.arch, plan.arch_args)
            )
            if plan.layer:
                layer_of(self.body, plan, plan.layer).register_forward_hook(
                    lambda _module, _inputs, output: self._captured.append(output)
                )
            self.body.eval()
            with torch.no_grad():
                first = torch.from_numpy(examples.normalise(examples.images[:2]))
                dimension = self.features(first).shape[1]
            self.head = nn.Linear(dimension, int(examples.labels.max()) + 1)
        self.body.requires_grad_(not frozen)
        # a buffer, so that checkpoints have it
        self.training_accuracy: Tensor
        self.register_buffer("training_accuracy", torch.zeros(epochs))
        self.to(self.device)

    def features(self, inputs: Tensor) -> Tensor:
        """Features ``(N, D)``, pooled as the plan says."""
        self._captured.clear()
        whole = self.body(inputs)
        output = self._captured[-1] if self._captured else whole
        return torch.as_tensor(pooled(self._plan, output))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, K)``."""
        return torch.as_tensor(self.head(self.features(inputs)))


def _triangle(progress: float) -> float:
    """Share of the highest learning rate at a share of the way: up for a third, then down to 0."""
    return min(3 * progress, 1.5 * (1 - progress))


def _shifted_and_flipped(images: Images, rng: np.random.Generator) -> Images:
    n, side, _, _ = images.shape
    reach = side // 8
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    corners = rng.integers(0, 2 * reach + 1, (n, 2))
    flipped = rng.integers(0, 2, n).astype(bool).tolist()
    changed = np.empty_like(images)
    for i, (top, left) in enumerate(corners):
        crop = padded[i, top : top + side, left : left + side]
        changed[i] = crop[:, ::-1] if flipped[i] else crop
    return changed


# --- checkpoints ----------------------------------------------------------------------------------


def _tensors(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _keep(path: Path, network: _Network, optimiser: torch.optim.SGD, epochs: int) -> None:
    momenta = {
        f"momentum.{place}": optimiser.state[weights]["momentum_buffer"].cpu()
        for place, weights in enumerate(optimiser.param_groups[0]["params"])
        if weights in optimiser.state
    }
    counted = {"epochs": torch.tensor(epochs)}
    files.keep(path, save({**_tensors(network.state_dict()), **momenta, **counted}))


def _resumed(path: Path, arch: str, network: _Network, optimiser: torch.optim.SGD) -> int:
    """Epochs that an earlier run got through; its weights and momenta are put in place."""
    if not files.exists(path):
        return 0
    tensors = load(files.kept(path))
    epochs = int(tensors.pop("epochs"))
    momenta = {name: tensors.pop(name) for name in list(tensors) if name.startswith("momentum.")}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as fault:
        raise BackboneError(
            f"{path}: holds weights of another network than {arch} gives now; delete the file"
        ) from fault
    parameters = optimiser.param_groups[0]["params"]
    for name, momentum in momenta.items():
        place = int(name.removeprefix("momentum."))
        optimiser.state[parameters[place]]["momentum_buffer"] = momentum.to(network.device)
    return epochs
