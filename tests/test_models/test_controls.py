"""Negative controls: each changes what a part learns, or is refused; and none changes what is measured."""

from itertools import combinations, product
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.models import Control, MeanTarget, OtherImage, ShuffledLocations, SupervisionPart
from lfi.models.controls import other_image_rows
from lfi.models.losses.means import RunningMean
from lfi.registry import MODELS
from lfi.structures import InteractionMaps, Targets
from mmpretrain.structures import DataSample
from part_inputs import features
from small_students import PARTS, TERMS, batch, interactions, parts

CONTROLS = ('OtherImage', 'ShuffledLocations', 'MeanTarget')
TAUGHT = [name for name in PARTS if name != 'prior']
# Of whole images: what they tell has no place.
PLACELESS = {'feature_mse', 'logit_kd'}
WEIGHTS = ('spatial_weight', 'semantic_weight', 'presence_weight')
REFUSAL = r'control=(\w+) changes nothing that (\S+) .*: take another control, or control=None$'


def unnamed(images):
    """A batch that says of no image which file it is."""
    return SimpleNamespace(data_samples=(), inputs=torch.zeros(images, 1))


def control_of(name):
    return dict(type=f'lfi.{name}')


def same(ours, theirs):
    return {name: torch.equal(ours[name], theirs[name]) for name in ours}


def registered(base):
    kinds = {
        kind for kind in MODELS.module_dict.values() if isinstance(kind, type) and issubclass(kind, base)
    }
    return {f'lfi.{kind.__name__}' for kind in kinds if kind.__module__.startswith('lfi.')}


def test_all_parts_and_controls_are_tested_here():
    # `lfi.DualHead` has a file of its own.
    assert {config['type'] for config in PARTS.values()} == registered(SupervisionPart) - {'lfi.DualHead'}
    assert {f'lfi.{name}' for name in CONTROLS} == registered(Control)


@pytest.mark.parametrize(('part', 'control'), list(product(TAUGHT, CONTROLS)))
def test_a_control_changes_what_a_part_learns_or_is_refused(make_classifier, part, control):
    taught = dict(supervision=parts(part, 'prior'))
    if control == 'ShuffledLocations' and part in PLACELESS:
        with pytest.raises(ValueError, match=f'changes nothing that supervision.{part} reads'):
            make_classifier(control=control_of(control), **taught)
        return
    plain, changed = make_classifier(**taught), make_classifier(control=control_of(control), **taught)
    # It acts in training only, and counts no other batches.
    assert all(same(plain.eval().loss(*batch()), changed.eval().loss(*batch())).values())
    assert not changed.control.state_dict()
    equal = same(plain.train().loss(*batch()), changed.train().loss(*batch()))
    assert equal.keys() == {'loss_cls', 'loss_prior'} | TERMS[part]
    assert not all(equal[name] for name in TERMS[part])
    # The task, and what needs no teacher, learn as ever.
    assert equal['loss_cls'] and equal['loss_prior']


@pytest.mark.parametrize('control', CONTROLS)
@pytest.mark.parametrize('on', [set(on) for n in range(1, 4) for on in combinations(WEIGHTS, n)])
def test_every_loss_of_interactions_is_changed_or_the_control_is_refused(make_classifier, on, control):
    supervision = interactions(**{weight: 0 for weight in WEIGHTS if weight not in on})
    if on == {'presence_weight'} and control != 'OtherImage':
        with pytest.raises(ValueError, match='changes nothing that supervision.interactions reads'):
            make_classifier(supervision=supervision, control=control_of(control))
        return
    plain = make_classifier(supervision=supervision)
    changed = make_classifier(supervision=supervision, control=control_of(control))
    equal = same(plain.loss(*batch()), changed.loss(*batch()))
    for weight in on:
        kept = weight == 'presence_weight' and control != 'OtherImage'
        assert equal[f'loss_{weight.removesuffix("_weight")}'] is kept


@pytest.mark.parametrize('control', CONTROLS)
@pytest.mark.parametrize(
    ('supervision', 'what'),
    [
        (parts('prior'), 'no part needs a teacher'),
        ({}, 'no part needs a teacher'),
        (
            interactions(dict(presence='label'), spatial_weight=0, semantic_weight=0),
            'supervision.interactions',
        ),
    ],
)
def test_a_control_without_effect_is_refused_in_one_line(make_classifier, control, supervision, what):
    with pytest.raises(ValueError, match=REFUSAL) as caught:
        make_classifier(supervision=supervision, control=control_of(control))
    assert what in str(caught.value)


def test_a_part_that_a_control_leaves_alone_is_named_beside_one_that_it_changes(make_classifier):
    with pytest.raises(ValueError, match='changes nothing that supervision.logit_kd reads'):
        make_classifier(
            supervision=parts('interactions', 'logit_kd'), control=control_of('ShuffledLocations')
        )


@pytest.mark.parametrize('config', [dict(type='lfi.LogitKD'), dict(type='lfi.AffinityPrior')])
def test_what_is_no_control_is_refused(make_classifier, config):
    with pytest.raises(ValueError, match=r"control.type='lfi\.\w+' is no Control; choose from"):
        make_classifier(control=config)


@pytest.mark.parametrize('control', CONTROLS)
@pytest.mark.parametrize('training', [False, True])
def test_students_are_measured_by_the_teachers_own_maps(make_classifier, control, training):
    plain, changed = make_classifier(), make_classifier(control=control_of(control))
    inputs, samples = batch()
    for _ in range(2):
        found = [model.train(training).predict_interactions(inputs, samples) for model in (plain, changed)]
        found += [model.teacher_answers(inputs) for model in (plain, changed)]
        for ours, theirs in zip(found[0] + found[2], found[1] + found[3]):
            assert torch.equal(ours.logits, theirs.logits) and torch.equal(ours.presence, theirs.presence)
        # And after a step that has learnt from others.
        changed.train().loss(inputs, samples)


# ---- OtherImage -----------------------------------------------------------------------------------------


def another(maps):
    return OtherImage().change_teacher_targets(Targets(maps), unnamed(len(maps.logits))).maps


def test_another_images_maps_are_taken_whole(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4), concepts=torch.arange(12).view(3, 4))
    changed = another(maps)
    for name in ('logits', 'presence', 'valid', 'concepts'):
        before, after = getattr(maps, name), getattr(changed, name)
        assert all(torch.equal(after[b], before[b - 1]) for b in range(3))


def test_features_and_class_scores_are_another_images(make_maps):
    theirs, scores = features(6), torch.randn(3, 5)
    changed = OtherImage().change_teacher_targets(Targets(None, theirs, scores), unnamed(3))
    for name in ('pooled', 'scores', 'locations'):
        before, after = getattr(theirs, name), getattr(changed.features, name)
        assert all(torch.equal(after[b], before[b - 1]) for b in range(3))
    assert all(torch.equal(changed.class_scores[b], scores[b - 1]) for b in range(3))
    assert changed.maps is None


def test_maps_and_features_of_one_student_are_of_the_same_other_image(make_classifier):
    supervision = parts('interactions', 'dense_features', 'logit_kd')
    plain = make_classifier(supervision=supervision)
    changed = make_classifier(supervision=supervision, control=control_of('OtherImage'))
    own, others = (model.part_targets(model.batch_of(*batch())) for model in (plain, changed))
    assert torch.equal(others['interactions'].logits, own['interactions'].logits.roll(1, 0))
    torch.testing.assert_close(others['dense_features'], own['dense_features'].roll(1, 0))
    assert torch.equal(others['logit_kd'], own['logit_kd'].roll(1, 0))


def test_labels_stay_with_their_images(make_classifier):
    model = make_classifier(control=control_of('OtherImage'))
    inputs, samples = batch(labels=(0, 3, 1))
    presence = model.part_targets(model.batch_of(inputs, samples))['interactions'].presence
    assert [presence[row, label].item() for row, label in enumerate((0, 3, 1))] == [1, 1, 1]
    own = make_classifier().part_targets(model.batch_of(*batch(hidden=(0, 1, 2))))['interactions'].presence
    assert torch.equal(presence[0, 1:], own[2, 1:])


@pytest.mark.parametrize(
    ('first', 'second', 'is_other'),
    [
        (dict(img_path='a/1.jpg'), dict(img_path='./a//1.jpg'), False),
        (dict(img_path='s3://a//1.jpg'), dict(img_path='s3://a/1.jpg'), True),
        (dict(sample_idx=1), dict(sample_idx=1), False),
        (dict(img_id=1), dict(img_id=1), False),
        (dict(img_id=1), dict(img_id=2), True),
    ],
)
def test_a_file_is_known_however_it_is_named(first, second, is_other):
    samples = [DataSample(metainfo=named) for named in (first, second)]
    view = SimpleNamespace(data_samples=samples, inputs=torch.zeros(2, 1))
    if is_other:
        assert other_image_rows(view).tolist() == [1, 0]
    else:
        with pytest.raises(ValueError, match='has no other image'):
            other_image_rows(view)


@pytest.mark.parametrize('part', TAUGHT)
def test_a_batch_of_one_image_has_no_other_to_take_from(make_classifier, part):
    model = make_classifier(supervision=parts(part), control=control_of('OtherImage'))
    inputs, samples = batch()
    message = 'an image of the batch has no other .*train_dataloader.drop_last=True'
    with pytest.raises(ValueError, match=message):
        model.loss(inputs[:1], samples[:1])
    if part == 'interactions':
        # It is measured by the teacher's own maps, image by image.
        model.predict_interactions(inputs[:1], samples[:1])


# ---- ShuffledLocations ----------------------------------------------------------------------------------


def shuffled(maps):
    return ShuffledLocations().change_teacher_targets(Targets(maps), unnamed(len(maps.logits))).maps


def places(maps):
    return [image.flatten(-2).flatten(0, 1).T.tolist() for image in maps.logits]


def test_shuffled_locations_keep_what_each_location_says(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4))
    changed = shuffled(maps)
    assert not torch.equal(changed.logits, maps.logits)
    for before, after in zip(places(maps), places(changed)):
        assert sorted(before) == sorted(after)
    assert torch.equal(changed.presence, maps.presence)
    orders = [[row.index(place) for place in after] for row, after in zip(places(maps), places(changed))]
    assert orders[0] != orders[1]


def test_shuffled_features_keep_what_each_location_says():
    theirs = features(6)
    changed = ShuffledLocations().change_teacher_targets(Targets(None, theirs, theirs.scores), unnamed(3))
    for before, after in zip(theirs.locations, changed.features.locations):
        assert not torch.equal(before, after)
        assert sorted(before.flatten(1).T.tolist()) == sorted(after.flatten(1).T.tolist())
    assert torch.equal(changed.features.pooled, theirs.pooled)
    assert torch.equal(changed.class_scores, theirs.scores)


def test_shuffled_locations_are_drawn_as_ever_where_nothing_is_padded(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4))
    torch.manual_seed(0)
    changed = shuffled(maps)
    torch.manual_seed(0)
    for b, order in enumerate(torch.rand(3, 16).argsort(1)):
        assert changed.logits[b].flatten(-2).equal(maps.logits[b].flatten(-2)[..., order])


@pytest.mark.parametrize('change', [another, shuffled])
@given(sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=4))
def test_no_control_asks_for_a_location_in_an_images_own_padding(change, sizes):
    """The student reads none there, and would be wrong by the logarithm of 0."""
    valid = torch.zeros(len(sizes), 4, 4, dtype=torch.bool)
    for row, (height, width) in enumerate(sizes):
        valid[row, :height, :width] = True
    logits = torch.arange(valid.numel() * 6.0).view(len(sizes), 2, 3, 4, 4)
    maps = InteractionMaps(logits, torch.ones(len(sizes), 3), valid, layers=(0, 1))
    changed = change(maps)
    assert not (changed.valid & ~valid).any()
    # All are padded at the right and below: what two images share begins at the top left.
    assert changed.valid.flatten(1).any(1).all()
    # What is valid comes from a location that is so, too.
    shown = set(logits[:, 0, 0][valid].tolist())
    assert set(changed.logits[:, 0, 0][changed.valid].tolist()) <= shown


# ---- MeanTarget -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('part', TAUGHT)
def test_means_are_saved_and_restored_and_a_resumed_run_goes_on_with_them(make_classifier, part):
    unbroken, resumed = (
        make_classifier(supervision=parts(part), control=control_of('MeanTarget')) for _ in range(2)
    )
    assert isinstance(unbroken.control, MeanTarget)
    means = [name for name, module in unbroken.named_modules() if isinstance(module, RunningMean)]
    assert means and all(name.startswith(f'control.means.{part}.') for name in means)
    # Before the first batch there is nothing to save.
    assert not [name for name in unbroken.state_dict() if name.startswith('control.')]
    # Averaged copies of a model pair buffers by their order.
    plain = make_classifier(supervision=parts(part))
    saved = [name for name, _ in unbroken.named_buffers() if not name.endswith('._device')]
    assert saved == [name for name, _ in plain.named_buffers()]
    first = batch(labels=(0, 1, 2))
    unbroken.loss(*first)
    state = unbroken.state_dict()
    stored = {name.rpartition('.')[0] for name in state if name.startswith('control.means.')}
    assert stored == {*means}
    assert ('control.grid' in state) == (part not in PLACELESS)
    resumed.load_state_dict(state, strict=True)
    assert [name for name, _ in unbroken.named_buffers() if not name.endswith('._device')] == saved
    inputs, samples = batch()
    ours, theirs = (model.loss(inputs.flip(-1), samples) for model in (unbroken, resumed))
    assert all(same(ours, theirs).values())
    # Two batches are in the mean.
    alone = make_classifier(supervision=parts(part), control=control_of('MeanTarget'))
    if part != 'interactions':
        equal = same(alone.loss(inputs.flip(-1), samples), ours)
        assert not all(equal[name] for name in TERMS[part])


def test_presence_stays_the_images_own_and_maps_do_not(make_classifier):
    plain, changed = make_classifier(), make_classifier(control=control_of('MeanTarget'))
    view = plain.batch_of(*batch())
    ours, theirs = (model.part_targets(view)['interactions'] for model in (changed, plain))
    assert torch.equal(ours.presence, theirs.presence)
    assert theirs.presence[0].ne(theirs.presence[1]).any()
    assert all(torch.equal(ours.spatial_logits[b], ours.spatial_logits[0]) for b in range(3))
    assert all(torch.equal(ours.logits[b], ours.logits[0]) for b in range(3))
    assert theirs.logits[0].ne(theirs.logits[1]).any()


@pytest.mark.parametrize('part', [part for part in TAUGHT if part not in PLACELESS])
def test_images_of_another_size_have_no_mean(make_classifier, part):
    model = make_classifier(supervision=parts(part), control=control_of('MeanTarget'))
    model.loss(*batch((32, 64)))
    resumed = make_classifier(supervision=parts(part), control=control_of('MeanTarget'))
    resumed.load_state_dict(model.state_dict(), strict=True)
    # As many locations as before, in another order.
    for size, run in product(((32, 32), (64, 32)), (model, resumed)):
        with pytest.raises(ValueError, match=r'a mean over the grid \(4, 8\) got .* all images to one size'):
            run.loss(*batch(size))
    for run in (model, resumed):
        run.loss(*batch((32, 64)))
