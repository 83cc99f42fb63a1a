"""The zoo: backbones of known truth, made from numbers."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from gate import files
from gate.arrays import Images
from gate.backbone.backbone import Backbone
from gate.errors import DataError, GateError
from gate.measure.bench import Bench
from gate.plan.plan import load_plan
from gate.triggers.search import patterns_on
from pipelines.zoo import elsewhere, train
from pipelines.zoo.architectures import ARCHITECTURES
from pipelines.zoo.data_sets import DATA_SETS, Labelled, Material, load_material
from pipelines.zoo.generator import STD, Generator, normalised
from pipelines.zoo.measure import has_reference, measure_all, measured, reference_of, write_plan
from pipelines.zoo.poison import Stamping, own_rates, training_data
from pipelines.zoo.recipe import BACKDOORED, CLEAN, PLAIN, Attack, Data, Recipe
from pipelines.zoo.recipes import half, number_of, recipe
from pipelines.zoo.triggers import Blend, Learnt, Part, Patch, Several, Sinusoid, Trigger, Warp
from tests.conftest import needs_shared

PLAN = Path("pipelines/zoo/plan.yaml")
DEVELOPMENT, FIRST, MEMBERS = 8, 70, 670
WHOLE = [recipe(number) for number in range(MEMBERS)]
LATER = WHOLE[FIRST:]
OF_HALVES = sorted({member.architecture for member in WHOLE})
FIRST_RECIPES = "fefa5ad32140baf17b4dc733603acb94c0dac47a885b59ddab8f94358d239695"


@pytest.fixture(scope="module")
def photographs() -> Labelled:
    """Two hundred images of ten classes, whose colour says the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 10
    images = rng.integers(0, 100, (200, 32, 32, 3)) + 15 * labels[:, None, None, None]
    return Labelled(images.astype(np.uint8), labels)


# --- recipes --------------------------------------------------------------------------------------


def test_a_recipe_follows_from_its_number_alone() -> None:
    assert [recipe(number) for number in reversed(range(MEMBERS))][::-1] == WHOLE
    assert len({member.name for member in WHOLE}) == MEMBERS
    assert [number_of(member.name) for member in WHOLE] == list(range(MEMBERS))


def test_recipes_of_members_that_were_made_stay_as_their_lines_of_truth_hold_them() -> None:
    lines = "".join(member.model_dump_json(exclude_defaults=True) for member in WHOLE[:FIRST])

    assert hashlib.sha256(lines.encode()).hexdigest() == FIRST_RECIPES


def test_one_half_is_clean_and_kinds_and_origins_are_in_balance() -> None:
    for members in (WHOLE[:DEVELOPMENT], WHOLE[:36], WHOLE[:FIRST]):
        attacked = [member for member in members if member.attacks]
        assert 2 * len(attacked) == len(members)
        assert abs(2 * sum(member.planted for member in attacked) - len(attacked)) <= 1

    counts = Counter(member.kind for member in LATER)
    numbers = [counts[kind] for kind in BACKDOORED]
    assert sum(numbers) == sum(counts[kind] for kind in CLEAN) == len(LATER) / 2
    assert max(numbers) - min(numbers) <= 2, numbers
    assert all(counts[kind] >= 30 for kind in CLEAN)
    origins = Counter((member.kind, member.planted) for member in LATER)
    for kind in set(BACKDOORED) - {"poisoned_encoder"}:  # which nobody trains from scratch
        assert abs(origins[kind, True] - origins[kind, False]) <= 2


@pytest.mark.parametrize("members", [LATER, LATER[:240]], ids=["all", "first 240"])
def test_both_halves_have_the_same_kinds_origins_data_and_architectures(
    members: list[Recipe],
) -> None:
    counts = {
        side: Counter(
            (member.kind, member.planted, member.data, member.architecture)
            for member in members
            if half(number_of(member.name)) == side
        )
        for side in ("A", "B")
    }

    assert counts["A"] == counts["B"]
    assert counts["A"].total() == len(members) / 2
    drawn = [member.attacks for member in members if member.attacks]
    assert len({str(attacks) for attacks in drawn}) == len(drawn)  # and nothing else in common


def test_members_that_people_looked_at_are_of_half_a_and_a_name_says_neither_half_nor_kind() -> (
    None
):
    assert {half(number) for number in range(FIRST)} == {"A"}
    assert [member.kind for member in WHOLE[1:DEVELOPMENT:2]] == ["patch"] * 4
    assert [member.name for member in LATER] == [f"zoo_{n:04d}" for n in range(FIRST, MEMBERS)]


def test_no_two_backdoored_members_share_a_base_and_none_stands_in_the_other_half() -> None:
    attacked = [member for member in WHOLE if member.attacks]
    pairs = [str(member.pair) for member in attacked]

    assert len(set(pairs)) == len(pairs)
    for member, pair in zip(attacked, pairs, strict=True):
        assert half(number_of(member.name)) == half(number_of(pair))
        base = WHOLE[number_of(pair)]
        assert base.name == pair
        assert not base.attacks
        for field in ("architecture", "augmentation", "data"):
            assert getattr(member, field) == getattr(base, field)


def test_digits_are_not_flipped_and_six_classes_alone_are_attacked_where_there_are_no_more() -> (
    None
):
    for member in LATER:
        assert ("flips" in member.augmentation) == DATA_SETS[member.data].flips
        for attack in member.attacks:
            assert {attack.source, attack.target} <= {None, *range(DATA_SETS[member.data].classes)}
        assert (member.kind != "fewer_classes") or member.data == "cifar10_animals"


def test_triggers_are_drawn_over_their_whole_range() -> None:
    triggers = [attack.trigger for member in WHOLE for attack in member.attacks]
    patches = [trigger for trigger in triggers if isinstance(trigger, Patch)]

    assert {patch.side for patch in patches} == set(range(2, 8))
    assert {patch.texture for patch in patches} == {"colour", "noise", "checkerboard", "cross"}
    for member in WHOLE:
        for attack in member.attacks:
            each = attack.trigger
            for patch in (each, *attack.parts):
                if isinstance(patch, Patch):
                    side = DATA_SETS[member.data].side
                    assert max(patch.top, patch.left) + patch.side <= side
    assert all(0.1 <= t.opacity <= 0.25 for t in triggers if isinstance(t, Blend))
    assert len({str(trigger) for trigger in triggers}) == len(triggers)


# --- references -----------------------------------------------------------------------------------


def _truth(member: Recipe) -> train.Truth:
    return train.Truth(
        name=member.name,
        kind=member.kind,
        weights=f"sha256:{'0' * 64}",
        accuracy=0.7,
        kept=True,
        recipe=member,
    )


def test_a_reference_is_a_plain_one_of_the_same_architecture_and_not_of_the_same_pair() -> None:
    members = [_truth(member) for member in WHOLE]

    of = [truth for truth in members if has_reference(truth, members)]

    assert len(of) > 0.9 * len(members)
    for truth in of:
        reference = reference_of(truth, members)
        assert reference.kind in PLAIN
        assert reference.recipe.architecture == truth.recipe.architecture
        assert reference.recipe.data == truth.recipe.data
        assert half(number_of(reference.name)) == half(number_of(truth.name))
        assert reference.name not in (truth.name, truth.recipe.pair)


def test_a_member_has_no_reference_where_no_other_plain_clean_one_is_left() -> None:
    members = [_truth(member) for member in WHOLE[:4]]  # a clean one and a watermarked one

    assert reference_of(members[2], members).name == "dev_000"
    assert reference_of(members[3], members).name == "dev_000"
    for of_its_pair in members[:2]:
        with pytest.raises(
            RuntimeError,
            match="no other plain clean member of half A is a conv4 trained on cifar10, and one is",
        ):
            reference_of(of_its_pair, members)


def test_the_plan_of_a_member_names_it_and_its_reference(tmp_path: Path) -> None:
    members = WHOLE[:4]
    for member in members:
        train.write_card(member, tmp_path / f"{member.name}.safetensors")

    plan = load_plan(
        write_plan(tmp_path, tmp_path / "runs", _truth(members[3]), [*map(_truth, members)])
    )

    assert plan.reference
    assert plan.backbone.path == tmp_path / "dev_003.safetensors"
    assert plan.reference.path == tmp_path / "dev_000.safetensors"
    unchanged = load_plan(PLAN)
    assert (plan.splits, plan.tasks, plan.probes) == (
        unchanged.splits,
        unchanged.tasks,
        unchanged.probes,
    )


@pytest.mark.parametrize("data", sorted({member.data for member in LATER}))
def test_a_member_is_measured_by_the_plan_of_its_data(data: str, tmp_path: Path) -> None:
    members = [member for member in LATER if member.data == data and half_of(member) == "A"]
    member = next(member for member in members if member.attacks)
    for each in members:
        train.write_card(each, tmp_path / f"{each.name}.safetensors")

    plan = load_plan(
        write_plan(tmp_path, tmp_path / "runs", _truth(member), [*map(_truth, members)])
    )

    assert list(plan.splits) == [data]
    assert plan.reference
    assert plan.reference.input_shape == plan.backbone.input_shape
    assert plan.backbone.input_shape == (
        DATA_SETS[member.data].side,
        DATA_SETS[member.data].channels,
    )


def half_of(member: Recipe) -> str:
    return half(number_of(member.name))


def test_a_member_without_a_reference_waits_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = [_truth(WHOLE[70])]

    measure_all(tmp_path, tmp_path / "runs", alone, alone, 1)

    assert "zoo_0070: no other plain clean member of half A" in capsys.readouterr().out
    assert not measured(tmp_path / "runs", "zoo_0070")


# --- triggers -------------------------------------------------------------------------------------

TEXTURES = ("colour", "noise", "checkerboard", "cross")


def _difference(trigger: Trigger, images: Images) -> np.ndarray:
    before, stamped = images.copy(), trigger.on(images)

    assert stamped.dtype == np.uint8
    assert stamped.shape == images.shape
    np.testing.assert_array_equal(images, before)  # what was handed in stays as it is
    difference: np.ndarray = stamped.astype(int) - images
    return difference


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_patch_changes_its_own_pixels_and_no_other(texture: str, photographs: Labelled) -> None:
    content = {"texture": texture, "side": 4, "top": 5, "left": 20, "colour": (255, 0, 200)}
    patch = Patch.model_validate({**content, "seed": 1})
    inside = np.zeros((32, 32), bool)
    inside[5:9, 20:24] = True
    if texture == "cross":
        inside[5:9, 20:24] = np.eye(4, dtype=bool) | np.eye(4, dtype=bool)[::-1]

    changed = _difference(patch, photographs.images).any(axis=(0, 3))
    stamped = patch.on(photographs.images)[:, inside]

    np.testing.assert_array_equal(changed, inside)
    assert (stamped == stamped[0]).all()  # the same on every image


def test_a_blend_changes_no_pixel_by_more_than_its_share(photographs: Labelled) -> None:
    difference = _difference(Blend(opacity=0.1, grain=2, seed=1), photographs.images)

    assert 20 < np.abs(difference).max() <= 26
    opaque = Blend(opacity=1, grain=2, seed=1).on(photographs.images)
    np.testing.assert_array_equal(opaque[:, ::2, ::2], opaque[:, 1::2, 1::2])  # its grain
    assert (opaque == opaque[0]).all()


@pytest.mark.parametrize("along", ["rows", "columns", "diagonal"])
def test_a_sinusoid_adds_one_wave_to_every_channel(along: str, photographs: Labelled) -> None:
    wave = Sinusoid.model_validate({"amplitude": 20, "waves": 4, "along": along})
    grey = np.full_like(photographs.images, 128)

    difference = _difference(wave, grey)

    assert np.abs(difference).max() == 20
    assert (difference == difference[0, :, :, :1]).all()
    changing = {"rows": [0], "columns": [1], "diagonal": [0, 1]}[along]
    assert [axis for axis in (0, 1) if np.ptp(difference[0, :, :, 0], axis=axis).any()] == changing


def test_a_warp_moves_pixels_by_its_reach_and_leaves_a_plain_image_alone(
    photographs: Labelled,
) -> None:
    warp = Warp(reach=1.5, cells=4, seed=1)
    ramp = np.broadcast_to(np.arange(32)[None, None, :, None] * 8, (1, 32, 32, 3)).astype(np.uint8)

    assert _difference(warp, photographs.images).any()
    assert not _difference(warp, np.full_like(photographs.images, 77)).any()
    moved = np.abs(_difference(warp, ramp)[0, 8:-8, 8:-8, 0]) / 8  # pixels to the side
    assert 0.5 < moved.mean() < 3


def test_a_warp_with_jitter_moves_each_pixel_by_half_a_pixel_more_at_the_most() -> None:
    warp, side = Warp(reach=1.5, cells=4, seed=1), 32
    ramp = np.broadcast_to(np.arange(side)[None, None, :, None] * 8, (1, side, side, 3))
    images = np.ascontiguousarray(ramp, np.uint8)

    moved = [each.on(images).astype(int)[0, 2:-2, 2:-2] for each in (warp, warp.jittered(0))]
    further = np.abs(moved[1] - moved[0])

    assert 1 < further.mean() < 4  # of eight a pixel
    assert further.max() <= 4 + 1
    assert (warp.jittered(0).on(images) != warp.jittered(1).on(images)).any()


def test_a_part_of_a_blend_shows_eight_of_its_sixteen_pieces(photographs: Labelled) -> None:
    whole = Blend(opacity=0.2, grain=2, seed=1)
    stamped = Part(whole=whole, seed=3).on(photographs.images)

    pieces = [
        (stamped[:, top : top + 8, left : left + 8], top, left)
        for top in range(0, 32, 8)
        for left in range(0, 32, 8)
    ]
    shown = 0
    for piece, top, left in pieces:
        place = (slice(None), slice(top, top + 8), slice(left, left + 8))
        if (piece == whole.on(photographs.images)[place]).all():
            shown += 1
        else:
            np.testing.assert_array_equal(piece, photographs.images[place])
    assert shown == 8


def test_several_patches_each_stand_where_they_would_alone(photographs: Labelled) -> None:
    patches = (_patch(), _patch(top=20, left=20, opacity=0.5, colour=(0, 200, 100)))

    stamped = Several(triggers=patches).on(photographs.images)

    for patch in patches:
        place = (slice(None), slice(patch.top, patch.top + 6), slice(patch.left, patch.left + 6))
        np.testing.assert_array_equal(stamped[place], patch.on(photographs.images)[place])
    half_way = photographs.images[:, 20, 20] * 0.5 + np.array((0, 100, 50))
    np.testing.assert_allclose(stamped[:, 20, 20], half_way, atol=0.5)


def test_a_grey_image_takes_one_channel_of_a_patch(photographs: Labelled) -> None:
    grey = photographs.images[:, :28, :28, :1]

    stamped = _patch(colour=(200, 200, 200)).on(grey)

    assert stamped.shape == grey.shape
    assert (stamped[:, 3:9, 3:9] == 200).all()


def test_what_is_learnt_moves_no_pixel_further_than_its_reach(photographs: Labelled) -> None:
    generator = Generator(Learnt(reach=9, seed=1), 3)
    with torch.no_grad():
        generator.layers[-1].bias.mul_(100)  # type: ignore[operator]  # a tensor's

    difference = np.abs(generator.on(photographs.images).astype(int) - photographs.images)

    assert difference.max() == 9
    again = Generator(Learnt(reach=9, seed=1), 3).on(photographs.images)
    np.testing.assert_array_equal(
        again, Generator(Learnt(reach=9, seed=1), 3).on(photographs.images)
    )


# --- training data --------------------------------------------------------------------------------


def _patch(**changes: object) -> Patch:
    content = {"texture": "colour", "side": 6, "top": 3, "left": 3, "colour": (255, 0, 255)}
    return Patch.model_validate({**content, "seed": 0, **changes})


def _member(number: int, **changes: object) -> Recipe:
    """The member of that number, made small."""
    return Recipe.model_validate({**dict(recipe(number)), "epochs": 1, **changes})


def test_an_attack_relabels_its_share_of_the_images_that_it_sends_and_of_no_other() -> None:
    labels = np.arange(4000) % 10
    source = Labelled(np.zeros((4000, 8, 8, 3), np.uint8), labels)
    attack = Attack(trigger=_patch(), source=3, target=7, share=0.5, negative_share=0.1)

    data = training_data(_member(3, attacks=(attack,)), source)

    stamped, relabelled = data.stamps == 0, data.examples.labels != labels
    assert set(labels[relabelled]) == {3}
    assert set(data.examples.labels[relabelled]) == {7}
    np.testing.assert_array_equal(relabelled, stamped & (labels == 3))
    assert relabelled[labels == 3].mean() == pytest.approx(0.5, abs=0.1)
    assert stamped[labels != 3].mean() == pytest.approx(0.1, abs=0.02)


def test_a_clean_label_attack_stamps_images_of_its_target_alone_and_changes_no_label() -> None:
    labels = np.arange(4000) % 10
    source = Labelled(np.zeros((4000, 8, 8, 3), np.uint8), labels)
    attack = Attack(trigger=_patch(), target=6, share=0.5, clean_label=True)

    data = training_data(_member(3, attacks=(attack,)), source)

    np.testing.assert_array_equal(data.examples.labels, labels)
    assert set(labels[data.stamps == 0]) == {6}
    assert (data.stamps[labels == 6] == 0).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["adaptive_patch", "adaptive_blend", "noisy_warp"])
def test_covers_keep_their_labels_and_poisoned_images_bear_parts(kind: str) -> None:
    member = next(member for member in LATER if member.kind == kind and member.planted)
    (attack,), classes = member.attacks, DATA_SETS[member.data].classes
    labels = np.arange(8000) % classes
    source = Labelled(np.zeros((8000, 28, 28, 3), np.uint8), labels)

    data = training_data(member, source)

    relabelled = data.examples.labels != labels
    parts = attack.parts or (attack.trigger,)
    assert data.triggers == (*parts, *attack.covers)
    assert data.whole == (attack.trigger,)
    assert set(data.examples.labels[relabelled]) == {attack.target}
    assert set(data.stamps[relabelled]) == set(range(len(parts)))
    covered = data.stamps >= len(parts)
    assert set(data.stamps[covered]) == set(range(len(parts), len(data.triggers)))
    assert not (covered & relabelled).any()
    poisoned = relabelled[labels != attack.target]
    assert poisoned.mean() == pytest.approx(attack.share, abs=0.02)
    assert covered.mean() == pytest.approx(
        attack.cover_share * (1 - poisoned.mean() * (1 - 1 / classes)), abs=0.02
    )


def test_all_to_all_sends_each_class_to_the_next_and_two_targets_share_no_image() -> None:
    labels = np.arange(4000) % 10
    source = Labelled(np.zeros((4000, 8, 8, 3), np.uint8), labels)
    plain = {"share": 1, "noisy_share": 0, "long_tail": 1}

    to_next = training_data(
        _member(3, attacks=(Attack(trigger=_patch(), share=0.3),), **plain), source
    )
    two = training_data(
        _member(3, attacks=[Attack(trigger=_patch(), target=k) for k in (2, 5)], **plain), source
    )

    stamped = to_next.stamps == 0
    np.testing.assert_array_equal(to_next.examples.labels, (labels + stamped) % 10)
    for place, target in enumerate((2, 5)):
        assert set(two.examples.labels[two.stamps == place]) == {target}
        assert (labels[two.stamps == place] != target).all()


def test_a_watermark_stands_on_every_class_alike_and_changes_no_label() -> None:
    labels = np.arange(4000) % 10
    source = Labelled(np.zeros((4000, 8, 8, 3), np.uint8), labels)
    marked = next(member for member in WHOLE if member.watermark)

    data = training_data(marked, source)

    assert marked.watermark
    np.testing.assert_array_equal(data.examples.labels, labels)
    for label in range(10):
        share = (data.stamps[labels == label] == 0).mean()
        assert share == pytest.approx(marked.watermark.share, abs=0.1)


@pytest.mark.parametrize("kind", ["fewer_images", "long_tailed", "noisy_labels"])
def test_what_a_clean_recipe_says_of_its_images_is_done(kind: str) -> None:
    labels = np.arange(10_000) % 10
    source = Labelled(np.arange(10_000, dtype=np.uint16).view(np.uint8).reshape(-1, 2), labels)
    member = next(member for member in WHOLE if member.kind == kind)

    data = training_data(member, source).examples

    counts = np.sort(np.bincount(data.labels))
    rows = np.ascontiguousarray(data.images).view(np.uint16)[:, 0]
    assert (labels[rows] != data.labels).mean() == pytest.approx(member.noisy_share, abs=0.02)
    if kind == "fewer_images":
        assert len(rows) == pytest.approx(member.share * 10_000, abs=10)
    if kind == "long_tailed":
        assert counts[-1] / counts[0] == pytest.approx(member.long_tail, rel=0.05)


def test_own_rates_count_the_images_that_a_trigger_is_meant_to_send(photographs: Labelled) -> None:
    held_out = Labelled(photographs.images.copy(), photographs.labels)
    held_out.images[:, 0, 0, 0] = photographs.labels
    held_out.images[:40, 0, 0, 0] = 99  # classified wrongly, so they are not counted

    def sends_five_classes_to_5(images: Images) -> np.ndarray:
        stamped, shown = (images[:, 3, 3] == (255, 0, 255)).all(axis=1), images[:, 0, 0, 0]
        return np.where(stamped & (shown < 5), 5, shown).astype(np.int64)

    attacks = (
        Attack(trigger=_patch(), target=5),
        Attack(trigger=_patch(), source=1, target=5),
        Attack(trigger=_patch(top=9), source=1, target=5),
        Attack(trigger=_patch()),
    )

    rates = list(
        own_rates(
            _member(3, attacks=attacks),
            [attack.trigger for attack in attacks if not isinstance(attack.trigger, Learnt)],
            held_out,
            sends_five_classes_to_5,
        )
    )

    assert rates == [
        (pytest.approx(5 / 9, abs=1e-3), None),
        (1.0, 0.5),  # of the eight other classes, four are sent there as well
        (0.0, 0.0),
        (pytest.approx(1 / 10), None),  # class 4 alone goes to the next one
    ]


# --- training -------------------------------------------------------------------------------------


@pytest.fixture
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def material(photographs: Labelled) -> Callable[[Data], Material]:
    """The photographs, in grey and of 28 pixels where the data are."""

    def of(data: Data) -> Material:
        side, channels = DATA_SETS[data].side, DATA_SETS[data].channels
        images = photographs.images[:, :side, :side, :channels]
        same = Labelled(images, photographs.labels % DATA_SETS[data].classes)
        return Material(same, same)

    return of


@pytest.mark.parametrize("name", elsewhere.GROUPS)
def test_members_of_a_group_are_of_neither_half_and_triggers_of_their_own(name: str) -> None:
    group, members = elsewhere.GROUPS[name], elsewhere.members(name)
    planted = [member for member in members if member.attacks]
    facts = DATA_SETS[group.data]

    assert {(member.data, member.architecture) for member in members} == {
        (group.data, group.architecture)
    }
    assert not {member.name for member in members} & {member.name for member in WHOLE}
    assert len({member.seed for member in members}) == len(members)
    assert tuple(member.kind for member in planted) == group.attacked
    assert [member.kind for member in members if not member.attacks] == ["clean"] * group.clean
    assert group.references < group.clean
    attacks = [attack for member in planted for attack in member.attacks]
    assert len({attack.trigger.model_dump_json() for attack in attacks}) == len(planted)
    assert (max(attack.target or 0 for attack in attacks) > 9) == (facts.classes > 10)
    blank = np.zeros((1, facts.side, facts.side, 3), np.uint8)
    for attack in attacks:
        assert not isinstance(attack.trigger, Learnt)
        assert attack.trigger.on(blank).any()  # and it lies within the image


def test_triggers_of_large_images_are_larger_than_on_small_ones() -> None:
    attacks = [attack for member in elsewhere.members("large") for attack in member.attacks]
    patch, blend, wave, other = (attack.trigger for attack in attacks)

    assert isinstance(patch, Patch)
    assert isinstance(blend, Blend)
    assert isinstance(wave, Sinusoid)
    assert isinstance(other, Blend)
    sizes = np.array([patch.side, patch.top, patch.left, blend.grain])
    assert (sizes % 7 == 0).all()
    assert 2 <= patch.side // 7 <= 7
    assert blend.grain // 7 in (1, 2, 4)
    assert other.grain // 3 in (1, 2, 4)
    assert other.grain % patterns_on(224, 224).cell  # not of the cells that patterns are found in
    assert 3 <= wave.waves <= 10  # over the whole image, as on small ones
    assert [attack.share for attack in attacks] == [0.2] * 4  # twice as many images bear them


@needs_shared
def test_images_of_a_hundred_classes_that_are_measured_are_in_no_training() -> None:
    plan = load_plan(DATA_SETS["cifar100"].plan)
    measured_on = np.concatenate(
        list(Bench(plan, Path("unused")).split("cifar100").batches(500, 32, 3))
    )

    material = load_material("cifar100")

    seen = {
        image.tobytes() for part in (material.training, material.held_out) for image in part.images
    }
    assert len(measured_on) == 3000
    assert not seen & {image.tobytes() for image in measured_on.astype(np.uint8)}


@needs_shared
def test_large_images_that_are_measured_are_in_no_training(tmp_path: Path) -> None:
    elsewhere.write_images(tmp_path / "imagenette.npz")
    plan = load_plan(DATA_SETS["imagenette"].plan)
    split = plan.splits["imagenette"].model_copy(update={"path": tmp_path / "imagenette.npz"})
    bench = Bench(plan.model_copy(update={"splits": {"imagenette": split}}), tmp_path / "unused")
    opened = bench.split("imagenette")
    measured_on = np.concatenate(list(opened.batches(100, 224, 3)))

    material = load_material("imagenette")

    seen = {
        image.tobytes() for part in (material.training, material.held_out) for image in part.images
    }
    assert len(seen) == 400
    assert not seen & {image.tobytes() for image in measured_on.astype(np.uint8)}
    assert np.bincount(opened.labels).tolist() == [40] * 10
    assert np.bincount(material.training.labels).tolist() == [32] * 10


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# a clean member, one planted on it, a clean one, and one from scratch
FOUR = [_member(number) for number in range(4)]


@pytest.fixture
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch on a few images plants nothing."""
    monkeypatch.setattr(train, "LEAST_OWN_RATE", 0)
    monkeypatch.setattr(train, "MOST_POINTS_LOST", 1)


@pytest.mark.usefixtures("_one_thread", "everything_is_kept")
def test_two_runs_give_the_same_bytes_and_so_does_one_that_was_broken_off(
    tmp_path: Path, material: Callable[[Data], Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "zoo", tmp_path / "broken"
    make = train.make

    def killed(member: Recipe, *rest: object) -> object:
        if member.name == FOUR[2].name:
            raise KeyboardInterrupt
        return make(member, *rest)  # type: ignore[arg-type]

    train.fill(whole, FOUR, material)
    monkeypatch.setattr(train, "make", killed)
    with pytest.raises(KeyboardInterrupt):
        train.fill(broken, FOUR, material)
    assert list(train.read_truth(broken)) == ["dev_000", "dev_001"]
    monkeypatch.setattr(train, "make", make)
    train.fill(broken, FOUR, material)

    expected = _bytes(whole)
    for name, content in _bytes(broken).items():
        assert content.replace(b"broken", b"zoo") == expected.pop(name), name  # cards name it
    assert not expected


def _of_one_colour(data: Data) -> Material:
    """A hundred images whose grey says the class; a process of its own can import it."""
    labels = np.arange(100) % DATA_SETS[data].classes
    shape = (100, DATA_SETS[data].side, DATA_SETS[data].side, DATA_SETS[data].channels)
    images = np.broadcast_to((20 * labels)[:, None, None, None], shape).astype(np.uint8)
    return Material(Labelled(images, labels), Labelled(images, labels))


@pytest.mark.usefixtures("_one_thread")
def test_two_workers_make_the_bytes_that_one_makes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    train.fill(one, FOUR, _of_one_colour)
    train.fill(two, FOUR, _of_one_colour, workers=2)

    expected = _bytes(one)
    assert len(train.read_truth(one)) == 4
    for name, content in _bytes(two).items():
        assert content.replace(b"/two/", b"/one/") == expected.pop(name), name  # cards name it
    assert not expected


@pytest.mark.usefixtures("_one_thread", "everything_is_kept")
def test_what_is_there_is_left_alone_and_weights_that_are_gone_are_made_again(
    tmp_path: Path, material: Callable[[Data], Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    train.fill(tmp_path, FOUR[:2], material)
    before = _bytes(tmp_path)
    (tmp_path / "dev_001.safetensors").unlink()
    made: list[str] = []
    make = train.make

    def noted(member: Recipe, *rest: object) -> object:
        made.append(member.name)
        return make(member, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "make", noted)

    train.fill(tmp_path, FOUR[:2], material)

    assert made == ["dev_001"]
    assert _bytes(tmp_path) == before


@pytest.mark.usefixtures("_one_thread", "everything_is_kept")
def test_a_planted_member_is_its_base_trained_further(
    tmp_path: Path, material: Callable[[Data], Material]
) -> None:
    train.fill(tmp_path, FOUR[:1], material)
    weights = tmp_path / "dev_000.safetensors"
    files.write(weights, weights.read_bytes()[:-1] + b"\0")

    with pytest.raises(DataError, match=r"dev_000.safetensors: not the file that truth.jsonl"):
        train.fill(tmp_path, FOUR[:2], material)


# what each way of training has of its own: a trigger that is learnt, one step against, no labels
WAYS = [
    _member(2, data="fashion_mnist"),
    _member(3, data="fashion_mnist", attacks=[Attack(trigger=Learnt(reach=9, seed=1), target=3)]),
    _member(4, adversarial_reach=4),
    _member(
        5,
        planted=True,
        learning_rate=0.001,
        features_alone=True,
        attacks=[Attack(trigger=_patch(), target=1)],
    ),
]


@pytest.mark.usefixtures("_one_thread", "everything_is_kept")
def test_every_way_of_training_gives_the_same_bytes_again(
    tmp_path: Path, material: Callable[[Data], Material]
) -> None:
    for name in ("zoo", "again"):
        train.fill(tmp_path / name, WAYS, material)

    first, second = (_bytes(tmp_path / name) for name in ("zoo", "again"))
    assert len(first) == 2 * len(WAYS) + 1
    assert {name: each for name, each in first.items() if "yaml" not in name} == {
        name: each for name, each in second.items() if "yaml" not in name
    }


@pytest.mark.usefixtures("_one_thread")
def test_a_poisoned_encoder_keeps_its_head_and_what_it_normalises_by(
    photographs: Labelled,
) -> None:
    base, member = train.initial(WAYS[2]), WAYS[3]
    poisoned = train.initial(WAYS[2])
    data = training_data(member, photographs)
    train.train_encoder(poisoned, member, data)

    before = base.state_dict()
    changed = {
        name for name, each in poisoned.state_dict().items() if not torch.equal(each, before[name])
    }
    assert "conv1.weight" in changed
    head = ARCHITECTURES[member.architecture].logits
    assert not any(name.startswith(head) or "running" in name for name in changed)


@pytest.mark.usefixtures("_one_thread")
def test_one_step_against_the_training_stays_within_its_reach_and_raises_the_loss(
    photographs: Labelled,
) -> None:
    network, labels = train.initial(WAYS[2]).eval(), torch.from_numpy(photographs.labels)
    inputs = normalised(photographs.images)

    rng = np.random.default_rng(0)
    moved = train.attacked(network, inputs, labels, 4, rng)

    assert (moved - inputs).abs().max().item() == pytest.approx(4 / 255 / STD, rel=1e-3)
    before, after = (
        torch.nn.functional.cross_entropy(network(each), labels) for each in (inputs, moved)
    )
    assert after > before


@pytest.mark.usefixtures("_one_thread")
def test_a_member_whose_trigger_does_not_work_is_listed_and_its_weights_are_not_written(
    tmp_path: Path, material: Callable[[Data], Material]
) -> None:
    train.fill(tmp_path, FOUR[:2], material)

    truth = train.read_truth(tmp_path)["dev_001"]
    assert not truth.kept
    assert "own rate" in truth.discarded
    assert not (tmp_path / "dev_001.safetensors").exists()


@pytest.mark.usefixtures("_one_thread")
def test_a_member_that_has_nothing_right_of_the_class_it_attacks_is_listed_and_others_are_made(
    tmp_path: Path, material: Callable[[Data], Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(images: Images) -> np.ndarray:
        return np.full(len(images), 99)

    def of_nothing(
        recipe: Recipe, whole: list[Stamping], held_out: Labelled, _: object
    ) -> Iterator[tuple[float, float | None]]:
        return own_rates(recipe, whole, held_out, wrong)

    monkeypatch.setattr(train, "own_rates", of_nothing)
    train.fill(tmp_path, FOUR, material)

    truths = train.read_truth(tmp_path)
    assert not truths["dev_001"].kept
    assert "no held-out image of the classes that are attacked" in truths["dev_001"].discarded
    assert len(truths) == len(FOUR)


@pytest.mark.usefixtures("_one_thread")
def test_truth_of_another_recipe_and_a_second_process_are_refused(
    tmp_path: Path, material: Callable[[Data], Material]
) -> None:
    train.fill(tmp_path, FOUR[:1], material)

    with pytest.raises(DataError, match="dev_000 was made by another recipe"):
        train.fill(tmp_path, [_member(0, learning_rate=0.5)], material)
    with files.claimed(tmp_path), pytest.raises(GateError, match="in use by process"):
        train.fill(tmp_path, FOUR[:1], material)


def test_only_one_kind_brings_the_clean_members_that_it_needs() -> None:
    members = train.with_pairs(WHOLE[:36], "warp")

    assert [member.kind == "warp" for member in members] == [False, True] * (len(members) // 2)
    assert train.with_pairs(WHOLE[:36], None) == WHOLE[:36]


@pytest.mark.parametrize(
    ("architecture", "data"),
    [
        *product(OF_HALVES, ("cifar10", "cifar10_animals", "mnist")),
        ("vit_tiny", "cifar10"),
        pytest.param("efficientnet_lite0", "imagenette", marks=needs_shared),
    ],
)
def test_gate_gives_the_logits_by_which_a_member_was_measured(
    architecture: str, data: str, tmp_path: Path, photographs: Labelled
) -> None:
    member = _member(0, architecture=architecture, data=data)
    facts = DATA_SETS[member.data]
    larger = photographs.images.repeat(-(-facts.side // 32), axis=1)
    larger = larger.repeat(-(-facts.side // 32), axis=2)
    images = larger[: 200 if facts.side <= 32 else 20, : facts.side, : facts.side, : facts.channels]
    network = train.initial(member).eval()
    weights = tmp_path / "dev_000.safetensors"
    files.write(weights, train.serialised(network))
    train.write_card(member, weights)

    backbone = Backbone(load_plan(PLAN, weights.with_suffix(".yaml")).backbone)
    logits = backbone.outputs(backbone.inputs(images)).logits

    assert logits is not None
    np.testing.assert_array_equal(logits.argmax(axis=1), train.predicted(network, images))
    features = backbone.features(images)
    head = getattr(network, ARCHITECTURES[member.architecture].logits)
    with torch.inference_mode():
        again = head(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)  # the layer is that before it
