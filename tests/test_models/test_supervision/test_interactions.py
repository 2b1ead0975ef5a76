"""`Interactions`: its means against those taken view by view, what it reads, and its teachers."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from lfi.models.losses.interaction_distill_loss import align_layers
from lfi.structures import OTHER
from part_inputs import build

C = 5
LOSS = dict(spatial_temperature=0.7, semantic_temperature=2.0)
TERMS = ('spatial', 'semantic', 'presence')
NAMES = dict(spatial='attention', semantic='concept_scores', presence='presence')


def part_of(loss=LOSS, **reading):
    return build('lfi.Interactions', loss=loss, reading=reading)


def random_valid(seed):
    return torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(seed)) < 0.7


def mean_of(batches, weigh, read):
    """By concept, layer and location, over the views that were asked."""
    total, weight = torch.zeros(C + 1, 2, 4, 4), torch.zeros(C + 1, 2, 4, 4)
    for maps in batches:
        for b in range(2):
            for m in range(maps.logits.shape[2]):
                c = m if maps.concepts is None else maps.concepts[b, m].item()
                for y in range(4):
                    for x in range(4):
                        if maps.valid[b, y, x]:
                            w = weigh(maps)[b, m]
                            total[c, :, y, x] += w * read(maps)[b, :, m, y, x]
                            weight[c, :, y, x] += w
    return total / weight.clamp_min(1e-12)


@pytest.mark.parametrize('asked', ['all', 'some'])
@pytest.mark.parametrize('reading', ['logits', 'concept_softmax'])
def test_each_concept_has_the_mean_of_all_its_maps(make_maps, means_of, asked, reading):
    part = part_of()
    means, m = means_of(part), C if asked == 'all' else 3
    batches = []
    for seed in range(3):
        concepts = None
        if asked == 'some':
            order = torch.rand(2, C, generator=torch.Generator().manual_seed(seed)).argsort(1)
            concepts = torch.cat((order[:, :2], torch.full((2, 1), OTHER)), 1)
        maps = make_maps(seed, (2, 2, m, 4, 4), concepts=concepts, valid=random_valid(seed))
        batches.append(maps.concept_softmax() if reading == 'concept_softmax' else maps)
        changed = part.with_means(batches[-1], means, C)
    semantic_log_probs = mean_of(
        batches, lambda maps: torch.ones(2, m), lambda maps: (maps.logits / 2).softmax(2)
    )
    scale = part.loss.spatial_temperature_of
    spatial_log_probs = mean_of(
        batches, lambda maps: maps.presence, lambda maps: maps.spatial_log_probs(scale(maps)).exp()
    )
    for b in range(2):
        valid = changed.valid[b]
        for i in range(m):
            c = i if concepts is None else concepts[b, i].item()
            # As the loss reads them.
            p = spatial_log_probs[c][:, valid]
            torch.testing.assert_close(
                changed.spatial_log_probs(scale(changed))[b, :, i][:, valid].exp(), p / p.sum(1, keepdim=True)
            )
            torch.testing.assert_close(
                (changed.logits[b, :, i] / 2).exp()[:, valid], semantic_log_probs[c][:, valid]
            )
    for name in ('presence', 'valid', 'concepts'):
        assert getattr(changed, name) is getattr(batches[-1], name)


@pytest.mark.parametrize('student_layers', [1, 2, 3, 4, 6])
def test_no_common_map_has_a_smaller_loss_than_the_mean_whatever_layers_meet(
    make_maps, means_of, student_layers
):
    part = part_of(dict(semantic_weight=0, presence_weight=0))
    own = make_maps(shape=(8, 4, C, 4, 4))
    # The layers of the teacher differ in their spread.
    own.logits.mul_(torch.tensor([0.5, 1.5, 1.0, 0.4]).view(4, 1, 1, 1))
    own.presence.fill_(1)
    mean = part.with_means(own, means_of(part), C)
    logits = align_layers(mean, student_layers).spatial_logits / part.loss.spatial_temperature
    logits = logits[:1].expand(8, student_layers, -1, -1, -1).clone().requires_grad_()
    student = replace(own, logits=logits, layers=tuple(range(student_layers)))
    part.loss(student, own)['loss_spatial'].backward()
    assert logits.grad.abs().max() > 1e-4
    # Summed over the images: the student gives all of them one map.
    assert logits.grad.sum(0).abs().max() < 1e-6


@pytest.mark.parametrize('off', [set(off) for n in range(3) for off in combinations(TERMS, n)])
def test_it_reads_and_averages_what_its_loss_compares(off):
    part = part_of({f'{term}_weight': 0 for term in off})
    on = [term for term in TERMS if term not in off]
    assert part.student_outputs == {NAMES[term] for term in on}
    assert part.mean_names == tuple(term for term in on if term != 'presence')
    assert part.target_varies_by_location is bool({'spatial', 'semantic'} & {*on})
    assert part.teacher_outputs == {'maps'} and part.target_needs_teacher


def test_what_compares_nothing_is_refused():
    message = 'spatial_weight, semantic_weight and presence_weight are all 0, and nothing is learnt'
    with pytest.raises(ValueError, match=message):
        part_of({f'{term}_weight': 0 for term in TERMS})


def test_presence_of_labels_alone_is_no_teachers():
    labels = dict(presence='label')
    assert not part_of(dict(spatial_weight=0, semantic_weight=0), **labels).target_needs_teacher
    assert part_of(dict(semantic_weight=0), **labels).target_needs_teacher


@pytest.mark.parametrize(
    ('reading', 'own', 'message'),
    [
        (
            dict(presence='image'),
            'softmax over the bank',
            'has one text .*teacher.background=',
        ),
        (dict(presence='image'), 'sigmoid, concept by concept', None),
        (dict(presence='best-location'), 'sigmoid, concept by concept', 'teacher.concepts has one text'),
    ],
)
def test_one_text_needs_another_where_concepts_are_compared(reading, own, message):
    part = part_of(spatial_reading='logits', **reading)
    teacher = SimpleNamespace(bank=[None], directions=('spatial', 'semantic'), presence_kind=own)
    if message is None:
        part.check_teacher(teacher)
    else:
        with pytest.raises(ValueError, match=message):
            part.check_teacher(teacher)
    part.check_teacher(SimpleNamespace(**{**vars(teacher), 'bank': [None] * 2}))


def test_maps_without_a_reading_over_concepts_need_a_loss_without_one():
    teacher = SimpleNamespace(bank=[None] * 3, directions=('spatial',), presence_kind=None)
    with pytest.raises(ValueError, match=r'no semantic direction: set loss.semantic_weight=0'):
        part_of(spatial_reading='logits').check_teacher(teacher)
    part_of(dict(semantic_weight=0), spatial_reading='logits').check_teacher(teacher)


@pytest.mark.parametrize(('option', 'value'), [('reading', [1]), ('loss', 'lfi.InteractionDistillLoss')])
def test_options_of_another_shape_are_refused(option, value):
    with pytest.raises(ValueError, match=f'{option}='):
        build('lfi.Interactions', **{option: value})
