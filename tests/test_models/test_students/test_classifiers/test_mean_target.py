"""`MeanTargetClassifier` against means that are taken view by view."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lfi.models import InteractionDistillLoss, LFIImageClassifier, MeanTargetClassifier
from lfi.structures import REST
from mmengine.runner import load_state_dict
from mmpretrain.structures import DataSample

C = 5
LOSS = InteractionDistillLoss(positions_temperature=0.7, concepts_temperature=2.0)


@pytest.fixture
def control(monkeypatch):
    """The control alone, without student and teacher."""

    def nothing(self):
        torch.nn.Module.__init__(self)

    monkeypatch.setattr(LFIImageClassifier, '__init__', nothing)
    teacher = SimpleNamespace(bank=SimpleNamespace(num_concepts=C))
    monkeypatch.setattr(MeanTargetClassifier, 'teacher', teacher)
    monkeypatch.setattr(MeanTargetClassifier, 'interaction_loss', LOSS, raising=False)
    return MeanTargetClassifier


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
@pytest.mark.parametrize('reading', ['scores', 'share'])
def test_each_concept_has_the_mean_of_all_its_maps(make_maps, control, asked, reading):
    model = control()
    m = C if asked == 'all' else 3
    batches = []
    for seed in range(3):
        concepts = None
        if asked == 'some':
            order = torch.rand(2, C, generator=torch.Generator().manual_seed(seed)).argsort(1)
            concepts = torch.cat((order[:, :2], torch.full((2, 1), REST)), 1)
        maps = make_maps(seed, (2, 2, m, 4, 4), concepts=concepts, valid=random_valid(seed))
        batches.append(maps.share() if reading == 'share' else maps)
        changed = model.change(batches[-1])
    over_concepts = mean_of(batches, lambda maps: torch.ones(2, m), lambda maps: (maps.logits / 2).softmax(2))
    over_positions = mean_of(
        batches,
        lambda maps: maps.presence,
        lambda maps: maps.over_positions(LOSS.positions_scale(maps)).exp(),
    )
    for b in range(2):
        valid = changed.valid[b]
        for i in range(m):
            c = i if concepts is None else concepts[b, i].item()
            # As the loss reads them.
            p = over_positions[c][:, valid]
            torch.testing.assert_close(
                changed.over_positions(LOSS.positions_scale(changed))[b, :, i][:, valid].exp(),
                p / p.sum(1, keepdim=True),
            )
            torch.testing.assert_close(
                (changed.logits[b, :, i] / 2).exp()[:, valid], over_concepts[c][:, valid]
            )
    for name in ('presence', 'valid', 'concepts'):
        assert getattr(changed, name) is getattr(batches[-1], name)


def test_a_resumed_run_goes_on_with_the_means(make_maps, control):
    unbroken, resumed = control(), control()
    first, second = (make_maps(seed, (2, 2, C, 4, 4)) for seed in (0, 1))
    unbroken.change(first)
    load_state_dict(resumed, unbroken.state_dict(), strict=True)
    assert torch.equal(unbroken.change(second).logits, resumed.change(second).logits)


@pytest.fixture
def make_model(make_small):
    return partial(make_small, readout=dict(text_dims=24))


def test_presence_stays_the_images_own_and_maps_do_not(make_model):
    plain, control = make_model('lfi.LFIImageClassifier'), make_model('lfi.MeanTargetClassifier')
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    samples = [DataSample(metainfo=dict(img_shape=(32, 32))).set_gt_label(label) for label in (0, 3, 1)]
    data = plain.data_preprocessor(dict(inputs=list(inputs), data_samples=samples), training=True)
    ours, theirs = (model._ask_teacher(**data) for model in (control, plain))
    assert torch.equal(ours.presence, theirs.presence)
    assert theirs.presence[0].ne(theirs.presence[1]).any()
    assert all(torch.equal(ours.positions[b], ours.positions[0]) for b in range(3))
    assert all(torch.equal(ours.logits[b], ours.logits[0]) for b in range(3))
    assert theirs.logits[0].ne(theirs.logits[1]).any()
    # It is measured by the teacher's own maps.
    assert torch.equal(control.predict_interactions(**data)[0].logits, theirs.logits)
    assert not [name for name in make_model('lfi.MeanTargetClassifier').state_dict() if 'mean' in name]
