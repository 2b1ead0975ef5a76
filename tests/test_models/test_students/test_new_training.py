"""A training that starts from the weights of another one, and one that is resumed."""

from itertools import count

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from small_students import parts, raw_batch
from torch.utils.data import DataLoader

STATISTICS = ('control.', 'supervision.dense_features.standardise.', 'supervision.lightly_train.queue')
NUMBERS = count()


def train(model, folder, epochs, **start):
    """Train on 4 images in batches of 2, by a plain Runner."""
    data = raw_batch(labels=None)
    images = [dict(inputs=x, data_samples=s) for x, s in zip(data['inputs'], data['data_samples'])]
    Runner(
        model,
        str(folder),
        DataLoader(images, 2, collate_fn=pseudo_collate),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        experiment_name=f'new_training_{next(NUMBERS)}',
        log_level='ERROR',
        **start,
    ).train()
    return folder / f'epoch_{epochs}.pth'


def statistics_of(model):
    return {name: value for name, value in model.state_dict().items() if name.startswith(STATISTICS)}


@pytest.mark.parametrize(
    ('part', 'control'),
    [
        ('dense_features', None),
        ('lightly_train', None),
        ('interactions', 'MeanTarget'),
        ('feature_mse', 'MeanTarget'),
    ],
)
def test_a_new_training_forgets_another_teachers_statistics_and_a_resumed_one_does_not(
    make_pretrainer, tmp_path, part, control
):
    def student(vlm):
        taught = dict(control=dict(type=f'lfi.{control}')) if control else {}
        return make_pretrainer(vlm, supervision=parts(part), **taught)

    other = train(student('vit_layer_scale'), tmp_path / 'other', 2)
    scratch, begun = student('vit'), student('vit')
    train(scratch, tmp_path / 'scratch', 1)
    checkpoint = train(begun, tmp_path / 'begun', 1, load_from=str(other))
    # They depend on teacher and images alone.
    expected = statistics_of(scratch)
    assert expected
    torch.testing.assert_close(statistics_of(begun), expected, rtol=0, atol=0)
    # The weights are the other training's.
    weight = begun.backbone.layers[0].attn.qkv.weight
    start = torch.load(other, weights_only=False)['state_dict']['backbone.layers.0.attn.qkv.weight']
    assert (
        (weight - start).abs().max()
        < 0.03
        < (weight - scratch.backbone.layers[0].attn.qkv.weight).abs().max()
    )

    unbroken, resumed = student('vit'), student('vit')
    train(unbroken, tmp_path / 'unbroken', 2, load_from=str(other))
    train(resumed, tmp_path / 'resumed', 2, load_from=str(checkpoint), resume=True)
    torch.testing.assert_close(statistics_of(resumed), statistics_of(unbroken), rtol=0, atol=0)
    assert not all(value.equal(expected[name]) for name, value in statistics_of(resumed).items())


def test_weights_of_init_cfg_keep_their_mean_text(make_pretrainer, tmp_path):
    first = train(make_pretrainer('vit', supervision=parts('interactions')), tmp_path / 'first', 1)
    centre = torch.load(first, weights_only=False)['state_dict']['readout.text_centre']
    start = dict(type='Pretrained', checkpoint=str(first))
    second = make_pretrainer('vit_layer_scale', supervision=parts('interactions'), init_cfg=start)
    train(second, tmp_path / 'second', 1)
    assert torch.equal(second.readout.text_centre, centre)


def test_a_skipped_first_update_brings_no_other_training_back(make_pretrainer, tmp_path):
    other = train(
        make_pretrainer('vit_layer_scale', supervision=parts('lightly_train')), tmp_path / 'other', 2
    )
    hook = dict(type='lfi.NonFiniteHook', max_skips=1)

    def skipped(folder, **start):
        student = make_pretrainer('vit', supervision=parts('lightly_train'))
        weight = student.backbone.layers[0].attn.qkv.weight
        steps = count()
        weight.register_hook(lambda grad: grad * (torch.inf if next(steps) == 0 else 1))
        train(student, tmp_path / folder, 1, custom_hooks=[hook], **start)
        return statistics_of(student)

    expected = skipped('scratch')
    torch.testing.assert_close(skipped('begun', load_from=str(other)), expected, rtol=0, atol=0)
