"""What two networks have in common by what they make of the same images."""

from collections.abc import Iterator, Sequence

from gate.arrays import Int64
from gate.backbone.backbone import Backbone, Outputs
from gate.errors import EvidenceError
from gate.lineage.alignment import Activations, aligned_alignment
from gate.lineage.network import Layer, Site
from gate.lineage.pairing import Pair
from gate.lineage.similarity import feature_similarity
from gate.measure.trial import Trial
from gate.probes.lineage import METRICS
from gate.probes.lineage.weights import alignments, layer_labels
from gate.values import Measurement


def by_images(
    trial: Trial, ancestor: Backbone, split: str, rows: Int64, pairs: Sequence[Pair]
) -> Iterator[Measurement | str]:
    """Similarity of features and, where layers are paired, of each layer; alignment of kernels.

    Args:
        trial: Passes the images.
        ancestor: Is compared with the candidate.
        split: Whose images.
        rows: Their places in it.
        pairs: Layers of both; none where they cannot be paired.

    Raises:
        EvidenceError: Features of one are the same for all images.
    """
    ours, theirs = (
        trial.inside(split, rows, backbone, sites_of([pair[place] for pair in pairs]))
        for place, backbone in enumerate((trial.backbone, ancestor))
    )
    about = {"ancestor": ancestor.digest, "split": split}
    try:
        similarity = feature_similarity(ours.features, theirs.features)
    except ValueError as fault:
        raise EvidenceError(
            f"lineage: features on {split}: {fault}, so nothing can be compared; check the "
            "preprocessing of backbone and ancestor, and the images"
        ) from fault
    yield METRICS.measurement("feature_similarity", similarity, len(rows), **about)
    if not pairs:
        return
    faults, channels = [], []
    for label, pair in zip(layer_labels(pairs), pairs, strict=True):
        given = (ours.sites[pair.candidate.gives], theirs.sites[pair.ancestor.gives])
        try:
            similarity = feature_similarity(*given)
            channels.append(
                aligned_alignment(
                    pair, activations(pair.candidate, ours), activations(pair.ancestor, theirs)
                )
            )
        except ValueError as fault:
            faults.append(f"{label}: {fault}")
            continue
        about_layer = {**about, "layer": label}
        yield METRICS.measurement("layer_feature_similarity", similarity, len(rows), **about_layer)
    if faults:
        yield f"aligned_weight_alignment is not measured on {split}: {'; '.join(faults)}"
        return
    seed = trial.plan.seed
    yield from alignments("aligned_weight_alignment", pairs, channels, seed, about)


def sites_of(layers: Sequence[Layer]) -> tuple[Site, ...]:
    """Where the layers' channels are, each place once."""
    sites = [site for layer in layers for site in (layer.reads, layer.gives) if site is not None]
    return tuple(dict.fromkeys(sites))


def activations(layer: Layer, outputs: Outputs) -> Activations:
    """What a layer reads, where that is known channel by channel, and what it gives."""
    reads = None if layer.reads is None else outputs.sites[layer.reads]
    return Activations(reads, outputs.sites[layer.gives])
