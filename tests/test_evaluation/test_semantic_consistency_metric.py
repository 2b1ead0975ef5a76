import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.evaluation import ImageMaps, centre_map
from lfi.evaluation.semantic_consistency_metric import consistency_table
from lfi.registry import METRICS
from lfi.structures import fitted_presence
from mmengine.logging import MMLogger
from scipy.stats import entropy, spearmanr

SEEDS = st.integers(0, 2**31 - 1)
LOCATED = ('pointing', 'energy', 'average_precision', 'iou')


def draw(seed, concepts=(4, 7), layers=3, side=5):
    """Random answers about an image that shows a pixel a location, and random regions."""
    rng = torch.Generator().manual_seed(seed)

    def maps(*shape):
        return (
            torch.rand(*shape, side, side, generator=rng).flatten(-2).softmax(-1).unflatten(-1, (side, side))
        )

    n = len(concepts)
    found = ImageMaps(
        concepts=list(concepts),
        student=maps(layers, n),
        mirrored=maps(n),
        teacher=maps(n),
        presence=torch.rand(9, generator=rng),
        teacher_presence=torch.rand(9, generator=rng),
        valid=torch.ones(side, side, dtype=torch.bool),
        size=(side, side),
        canvas=(side, side),
    )
    regions = {concept: torch.rand(side, side, generator=rng).numpy() < 0.4 for concept in concepts}
    for region in regions.values():
        region[0, 0] = True
    return dict(interactions=found, regions=regions)


def measure(*samples):
    metric = METRICS.build(dict(type='lfi.SemanticConsistencyMetric'))
    metric.process(None, samples)
    # Processes hand these on to one another.
    metric.results = pickle.loads(pickle.dumps(metric.results))
    found = metric.evaluate(len(samples))
    assert all(name.startswith('semantic/') for name in found)
    return {name.removeprefix('semantic/'): value for name, value in found.items()}


def located(column, heat, inside):
    """The measures of a map (P,) against a region (P,) bool."""
    scaled = (heat - heat.min()) / (heat.max() - heat.min())
    order = np.argsort(-heat)
    hits = inside[order].cumsum() / np.arange(1, len(heat) + 1)
    common = inside[order[: inside.sum()]].sum()
    found = {
        'pointing': inside[heat.argmax()],
        'energy': scaled[inside].sum() / scaled.sum(),
        'average_precision': hits[inside[order]].mean(),
        'iou': common / (2 * inside.sum() - common),
    }
    return {f'{name}{column}': value for name, value in found.items()}


def ranked(scores, hits):
    """Average precision of a list of scores by its definition; the scores differ."""
    pairs = sorted(zip(scores, hits), reverse=True)
    found = [hit for _, hit in pairs]
    return np.mean([sum(found[: i + 1]) / (i + 1) for i, hit in enumerate(found) if hit])


def as_numpy(sample):
    maps = sample['interactions']
    return {name: getattr(maps, name).double().numpy() for name in ('student', 'mirrored', 'teacher')}


@settings(max_examples=20)
@given(seed=SEEDS)
def test_entries_equal_their_definitions(seed):
    sample, before = draw(seed), draw(seed + 1)
    maps, other = as_numpy(sample), as_numpy(before)['student'][:, -1]
    metric = METRICS.build(dict(type='lfi.SemanticConsistencyMetric'))
    metric.process(None, [before])
    metric.process(None, [sample])
    rows = metric.results[1].rows
    assert len(rows) == 2
    for i, (region, row) in enumerate(zip(sample['regions'].values(), rows)):
        layers = maps['student'][:, i].reshape(3, -1)
        last, heat, inside = layers[-1], maps['teacher'][i].ravel(), region.ravel()
        standard = (last - last.mean()) / last.std()

        def rho(a, b):
            return spearmanr(a.ravel(), b.ravel()).statistic

        expected = {
            **located('', last, inside),
            **located('_teacher', heat, inside),
            'teacher_spearman': rho(last, heat),
            'teacher_nss': (standard * heat).sum() / heat.sum(),
            'teacher_kl': entropy(heat, last),
            'teacher_kl_uniform': entropy(heat, np.ones(25)),
            'teacher_spearman_centre': rho(centre_map((5, 5)).numpy(), heat),
            'flip': rho(last, maps['mirrored'][i]),
            'flip_other_image': rho(maps['mirrored'][i], other[-1]),
            'between_concepts': rho(last, maps['student'][-1, 1 - i]),
            'between_concepts_teacher': rho(heat, maps['teacher'][1 - i]),
            'layers': np.mean([rho(layers[a], layers[b]) for a, b in ((0, 1), (0, 2), (1, 2))]),
            'layers_other_image': np.mean([rho(layers[a], other[b]) for a, b in ((0, 1), (0, 2), (1, 2))]),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(
                float(value), abs=2e-3 if 'average_precision' in name else 1e-4
            ), name
        for name in LOCATED:
            assert row[f'{name}_uniform'] == pytest.approx(inside.mean())
        assert (row['teacher_spearman_uniform'], row['teacher_nss_uniform']) == (0, 0)


def test_presence_is_measured_over_all_pairs_of_images_and_concepts():
    samples = [draw(0), draw(1, concepts=(2,)), draw(2, concepts=(4, 0, 8))]
    # Images without regions take no part.
    found = measure(*samples, dict(regions={}))
    visible = [concept in sample['regions'] for sample in samples for concept in range(9)]
    for column, field in (('', 'presence'), ('_teacher', 'teacher_presence')):
        scores = [x for sample in samples for x in getattr(sample['interactions'], field).tolist()]
        assert found[f'presence_average_precision{column}'] == pytest.approx(ranked(scores, visible))
        told = [hit for score, hit in zip(scores, visible) if score >= 0.5]
        assert found[f'presence_precision{column}'] == pytest.approx(np.mean(told))
        assert found[f'presence_recall{column}'] == pytest.approx(sum(told) / 6)
        squares = [(score - hit) ** 2 for score, hit in zip(scores, visible)]
        assert found[f'presence_brier{column}'] == pytest.approx(np.mean(squares))
    # Concept 4 is in two of three images, and 0, 2, 7 and 8 in one each: 2 of 3 pairs, then 6 of 15.
    expected = (2 * 2 / 3 + 4 * 6 / 15) / 6
    assert found['presence_average_precision_frequency'] == pytest.approx(expected)


def test_a_fit_that_reduces_the_error_of_presence_is_named(monkeypatch):
    """The student says 0.05 for what is there, and 0.01 for the rest: only the order is right."""
    samples = []
    for i in range(8):
        sample = draw(i, concepts=(i, (i + 3) % 9))
        presence = torch.full((9,), 0.01)
        presence[list(sample['regions'])] = 0.05
        sample['interactions'] = replace(sample['interactions'], presence=presence)
        samples.append(sample)
    messages = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', messages.append)
    found = measure(*samples)
    assert found['presence_calibration_error'] > 4 * found['presence_fitted_calibration_error']
    scale, offset = map(float, re.search(r'readout\.presence_fit=\[(.*), (.*)\]', messages[-1]).groups())
    present, absent = fitted_presence(torch.tensor([0.05, 0.01]), (scale, offset)).tolist()
    assert present > 0.8 and absent < 0.1
    # A student that has a fit is told the one that replaces it.
    raw = fitted_presence(torch.tensor([0.05, 0.01]), (2, 0))
    for sample in samples:
        sample['interactions'] = replace(sample['interactions'], presence_fit=(0.5, 0.0))
    measure(*samples)
    scale, offset = map(float, re.search(r'readout\.presence_fit=\[(.*), (.*)\]', messages[-1]).groups())
    torch.testing.assert_close(
        fitted_presence(raw, (scale, offset)), torch.tensor([present, absent]), atol=0.05, rtol=0
    )


def test_a_pair_that_crowds_alone_show_counts_neither_way():
    samples = [dict(draw(0), crowds=[5, 8]), dict(draw(1), crowds=[]), draw(2, concepts=(4, 5))]
    pairs = [
        (sample['interactions'].presence[concept].item(), concept in sample['regions'])
        for sample in samples
        for concept in range(9)
        if concept not in sample.get('crowds', ())
    ]
    assert len(pairs) == 25
    found = measure(*samples)
    assert found['presence_average_precision'] == pytest.approx(ranked(*zip(*pairs)))
    assert found['presence_brier'] == pytest.approx(np.mean([(score - hit) ** 2 for score, hit in pairs]))
    # 4 is in three of three images, 7 in two of three, and 5 in one of two.
    expected = (3 * 3 / 3 + 2 * 5 / 6 + 6 / 8) / 6
    assert found['presence_average_precision_frequency'] == pytest.approx(expected)


def test_what_no_label_names_is_measured_apart():
    samples = [
        dict(draw(0), gt_label=torch.tensor([4])),
        dict(draw(1, concepts=(2, 4, 8)), gt_label=torch.tensor([2])),
    ]
    found = measure(*samples)
    # The other concepts of both images alone: 7 of the first, 4 and 8 of the second.
    for name in (*LOCATED, 'pointing_teacher', 'iou_centre', 'energy_uniform'):
        values = []
        for sample, others in zip(samples, ([1], [1, 2])):
            metric = METRICS.build(dict(type='lfi.SemanticConsistencyMetric'))
            metric.process(None, [sample])
            values += [metric.results[0].rows[i][name] for i in others]
        assert found[f'unlabelled_{name}'] == pytest.approx(np.mean(values))
    pairs = [
        (sample['interactions'].presence[concept].item(), concept in sample['regions'])
        for sample in samples
        for concept in range(9)
        if concept != sample['gt_label']
    ]
    assert found['unlabelled_presence_average_precision'] == pytest.approx(ranked(*zip(*pairs)))
    # 7 and 8 are in one of two images and 4 in the only one where it is no label: 1 of 1, then 3 of 5.
    expected = (1 + 2 * 3 / 5) / 3
    assert found['unlabelled_presence_average_precision_frequency'] == pytest.approx(expected)


def test_top1_asks_whether_the_surest_concept_is_the_label():
    samples = []
    for image, (surest, label) in enumerate(((4, [4]), (2, [5]), (7, [1, 7]))):
        sample = dict(draw(image), gt_label=torch.tensor(label))
        sample['interactions'].presence[surest] = 2 - sample['interactions'].presence.max()
        sample['interactions'].teacher_presence[0] = 1
        samples.append(sample)
    found = measure(*samples)
    assert found['presence_top1'] == pytest.approx(2 / 3)
    assert found['presence_top1_teacher'] == 0
    assert 'presence_top1' not in measure(draw(0))
    # No concept of the bank is a label.
    assert 'presence_top1' not in measure(dict(draw(0), gt_label=torch.tensor([99])))


def test_labels_that_name_all_that_is_seen_leave_nothing_to_measure_apart():
    found = measure(dict(draw(0, concepts=(3,)), gt_label=torch.tensor([3])))
    assert found['presence_recall_frequency'] == 1
    assert not any(name.startswith('unlabelled') for name in found)


def test_maps_of_locations_and_a_padded_canvas():
    side, size, canvas = 4, (24, 20), (32, 32)
    valid = torch.zeros(side, side, dtype=torch.bool)
    valid[:3, :3] = True
    # All look at the lower right location that shows the image.
    spot = torch.zeros(side, side)
    spot[2, 2] = 1
    region = np.zeros(size, bool)
    region[16:, 16:] = True
    presence = torch.arange(6) / 10
    maps = ImageMaps(
        [5], spot.expand(2, 1, -1, -1), spot[None], spot[None], presence, presence, valid, size, canvas
    )
    heat = {5: region.astype(np.float32)}
    found = measure(dict(interactions=maps, regions={5: region}, heat_maps=heat))
    assert found['pointing'] == 1
    # The map's hill is round.
    assert 0.8 < found['iou'] < 1
    assert found['human_spearman'] == pytest.approx(1)
    assert found['human_kl'] == pytest.approx(0, abs=1e-6)
    assert found['human_nss'] == pytest.approx(found['teacher_nss'])
    assert found['pointing_uniform'] == pytest.approx(32 / 480)


def test_each_entry_is_a_mean_over_the_concepts_that_have_it():
    both, alone = draw(0), draw(1, concepts=(2,))
    heat = {4: np.random.default_rng(0).random((5, 5), np.float32)}
    found = measure(dict(both, heat_maps=heat), dict(regions={}), alone)
    apart = [measure(sample) for sample in (both, alone)]
    assert found['concepts'] == 3
    assert found['energy'] == pytest.approx((2 * apart[0]['energy'] + apart[1]['energy']) / 3)
    assert found['human_kl'] == measure(dict(both, heat_maps=heat))['human_kl']
    assert 'human_kl' not in apart[0]


def test_one_alone_has_no_others_to_agree_with():
    found = measure(draw(0, concepts=(3,), layers=1))
    assert 'flip' in found and not {'layers', 'between_concepts'} & found.keys()
    assert not any(name.endswith('other_image') for name in found)
    assert measure(dict(regions={})) == {'concepts': 0}


def test_a_second_evaluation_begins_anew():
    metric = METRICS.build(dict(type='lfi.SemanticConsistencyMetric'))
    found = []
    for _ in range(2):
        metric.process(None, [draw(0), draw(1)])
        found.append(metric.evaluate(2))
    assert found[0] == found[1]


def test_the_table_has_chance_and_the_teacher_beside_the_student():
    lines = consistency_table(
        {
            **{'iou': 0.5, 'iou_uniform': 0.25, 'iou_teacher': 0.625},
            **{'layers': 0.75, 'layers_other_image': 0.125},
        }
    )
    assert lines.splitlines() == [
        '| measure | student | uniform map | centre map | frequency | other image | teacher |',
        '| --- | --- | --- | --- | --- | --- | --- |',
        '| iou | 0.500 | 0.250 |  |  |  | 0.625 |',
        '| layers | 0.750 |  |  |  | 0.125 |  |',
    ]


def test_what_the_config_lacks_is_named():
    sample = draw(0)
    with pytest.raises(ValueError, match=r"put dict\(type='lfi.LoadRegions'\) into the pipeline"):
        measure(dict(interactions=sample['interactions']))
    with pytest.raises(ValueError, match='add .*lfi.InteractionMapsHook.* to the hooks'):
        measure(dict(regions=sample['regions']))
    moved = {4: np.ones((5, 6), bool)}
    with pytest.raises(ValueError, match=r'concept 4 is \(5, 6\), and the image \(5, 5\)'):
        measure(dict(sample, regions=moved))


def padded(sample, side=8):
    """The same image in a larger batch."""
    found = sample['interactions']
    more = side - found.valid.shape[0]
    maps = {
        name: torch.nn.functional.pad(getattr(found, name), (0, more, 0, more))
        for name in ('student', 'mirrored', 'teacher', 'valid')
    }
    return dict(sample, interactions=replace(found, canvas=(side, side), **maps))


def test_what_an_image_is_batched_with_changes_no_measure():
    images = draw(0), draw(1, side=4)
    alone = measure(*images)
    assert 'flip_other_image' in alone
    assert measure(*map(padded, images)) == pytest.approx(alone, rel=1e-5)


def test_a_heat_map_beyond_what_is_shown_is_left_out():
    sample = draw(0)
    sample['interactions'].valid[:, -1] = False
    heat = np.zeros((5, 5), np.float32)
    heat[:, -1] = 1
    found = measure(dict(sample, heat_maps={4: heat}))
    assert not any(name.startswith('human') for name in found)
