from collections import Counter

import lfi.datasets.labelled_images as module
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import LabelledShareSampler, Shapes
from lfi.datasets.labelled_images import labelled_mask
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.runner import Runner

SHAPES = dict(type='lfi.Shapes', split='train', num_images=20, img_size=32)
HIDDEN = dict(type='lfi.FewLabels', labels_per_class=0, dataset=SHAPES)


class Infos(BaseDataset):
    def __init__(self, infos):
        self.infos = infos
        super().__init__()

    def load_data_list(self):
        return self.infos


def test_a_label_below_0_none_and_a_mark_are_no_label():
    unlabelled = [dict(gt_label=-1), dict(), dict(gt_label=2, unlabelled=True)]
    labelled = [dict(gt_label=0), dict(gt_label=[1, 2]), dict(depth_map_path='a.png')]
    assert labelled_mask(Infos([*unlabelled, *labelled])).tolist() == [False] * 3 + [True] * 3


def test_wrappers_are_looked_into():
    both = ConcatDataset([SHAPES, HIDDEN])
    assert labelled_mask(both).tolist() == [True] * 20 + [False] * 20
    part = Infos([dict(gt_label=0), dict(gt_label=-1)])
    assert labelled_mask(RepeatDataset(part, 2)).tolist() == [True, False, True, False]


def test_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(Shapes, '_sample', lambda *args: pytest.fail('drawn'))
    assert np.array_equal(labelled_mask(ConcatDataset([SHAPES])), [True] * 20)


class Labelled:
    """A data set that says which of its images have a label."""

    def __init__(self, labelled):
        self.labelled = np.array(labelled, bool)

    def __len__(self):
        return len(self.labelled)


def samplers(labelled, world_size=1, share=0.5, seed=0):
    found = []
    for rank in range(world_size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, world_size))
            found.append(LabelledShareSampler(Labelled(labelled), share, seed))
    return found


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


data_sets = st.lists(st.booleans(), min_size=1, max_size=60)
mixed = data_sets.filter(lambda labelled: 0 < sum(labelled) < len(labelled))
shares = st.sampled_from([0.1, 0.25, 0.3, 0.5, 2 / 3, 0.8])


@settings(max_examples=100)
@given(mixed, st.integers(1, 4), shares, st.integers(0, 3), st.integers(0, 9))
def test_an_epoch_passes_once_over_the_kind_that_lasts_longer(labelled, world_size, share, epoch, seed):
    ranks = samplers(labelled, world_size, share, seed)
    orders = [epoch_of(sampler, epoch) for sampler in ranks]
    assert [len(order) for order in orders] == [len(sampler) for sampler in ranks]
    assert len({len(order) for order in orders}) == 1
    kinds = {kind: {i for i, known in enumerate(labelled) if known is kind} for kind in (True, False)}
    seen = {kind: Counter(i for order in orders for i in order if i in kinds[kind]) for kind in kinds}
    drawn = {kind: sum(seen[kind].values()) for kind in kinds}
    # What fills up is less than one image a process, and one more where a share is no round number of images.
    assert any(0 <= drawn[kind] - len(kinds[kind]) < 2 * world_size for kind in kinds)
    assert all(drawn[kind] > len(kinds[kind]) - world_size for kind in kinds)
    if drawn[False] - len(kinds[False]) < world_size:
        assert set(seen[False]) == kinds[False]


@settings(max_examples=100)
@given(mixed, st.integers(1, 4), shares, st.integers(1, 9))
def test_each_batch_has_its_share(labelled, world_size, share, batch_size):
    for sampler in samplers(labelled, world_size, share):
        known = np.array(labelled)[epoch_of(sampler, 1)]
        for start in range(0, len(known), batch_size):
            batch = known[start : start + batch_size]
            assert abs(batch.sum() - share * len(batch)) < 1 + 1e-3


@settings(max_examples=100)
@given(mixed, st.integers(1, 3), shares)
def test_each_labelled_image_comes_before_one_comes_again_across_epochs_and_processes(
    labelled, world_size, share
):
    ranks = samplers(labelled, world_size, share)
    counts = Counter()
    for epoch in range(4):
        counts.update(i for sampler in ranks for i in epoch_of(sampler, epoch))
    every = [counts[i] for i, known in enumerate(labelled) if known]
    # Passes are cut where an epoch or a process ends, and never twice.
    assert max(every) - min(every) <= 1


@pytest.mark.parametrize('known', [True, False])
def test_of_one_kind_alone_an_epoch_is_one_pass(known):
    ranks = samplers([known] * 7, world_size=2)
    orders = [epoch_of(sampler, 3) for sampler in ranks]
    assert [len(order) for order in orders] == [len(sampler) for sampler in ranks] == [4, 4]
    assert {*orders[0], *orders[1]} == set(range(7))


def test_the_order_is_of_seed_and_epoch_alone():
    labelled = [True] * 4 + [False] * 30
    (sampler,), (resumed,), (other,) = samplers(labelled), samplers(labelled), samplers(labelled, seed=1)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    assert first != second == epoch_of(resumed, 1) != epoch_of(other, 1)


@pytest.mark.parametrize('share', [0, 1, -0.5, 2, 1e-9, 1 - 1e-9, float('nan'), None])
def test_a_share_that_leaves_one_kind_out_is_refused(share):
    with pytest.raises(ValueError, match=f'labelled_share={share} must be above 0 and below 1.*=0'):
        samplers([True, False], share=share)


def test_other_mistakes_are_refused():
    with pytest.raises(ValueError, match='seed=-1 is negative'):
        samplers([True, False], seed=-1)
    with pytest.raises(ValueError, match='no images'):
        samplers([])


def test_a_data_loader_of_mmengine_takes_a_second_data_set_without_labels():
    shapes = dict(
        type='lfi.Shapes',
        split='train',
        num_images=20,
        img_size=32,
        pipeline=[dict(type='mmpretrain.PackInputs')],
    )
    others = dict(type='lfi.FewLabels', labels_per_class=0, dataset=dict(shapes, num_images=60, seed=1))
    loader = Runner.build_dataloader(
        dict(
            dataset=dict(type='ConcatDataset', datasets=[shapes, others]),
            sampler=dict(type='lfi.LabelledShareSampler', labelled_share=0.25),
            batch_size=8,
            num_batch_per_epoch=None,
        ),
        seed=3,
    )
    assert isinstance(loader.dataset, ConcatDataset)
    assert len(loader) == 10
    for batch in loader:
        assert sum('unlabelled' not in sample for sample in batch['data_samples']) == 2
