"""The comparison with LightlyTrain's own package, which is not installed here."""

from pathlib import Path

import pytest
import torch
from lfi.errors import UsageError

from research.commands.lightly_train import (
    NUM_TEST_CLASSES,
    STUDENTS,
    Results,
    class_folders,
    frozen_accuracy,
    split_images,
    untested_names,
    write_photos,
)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'backbone.backbone.'])
@pytest.mark.parametrize(('student', 'name'), [('resnet18', 'layer4.1.bn2.weight'), ('vit', 'pos_embed')])
def test_frozen_features_are_those_of_the_weights_whatever_their_prefix_is(student, name, prefix):
    torch.manual_seed(0)
    model = STUDENTS[student].build()
    state = {f'{prefix}{name}': value.clone() for name, value in model.state_dict().items()}
    # Weights beside the backbone's.
    state['readout.patch_head.weight'] = torch.zeros(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    labels = torch.arange(2).repeat_interleave(30)
    # Two classes of very different brightness.
    images = torch.randn(60, 3, 64, 64) + 4 * labels.view(-1, 1, 1, 1)
    found = frozen_accuracy(model, state, (images[::2], labels[::2]), (images[1::2], labels[1::2]))
    assert found == {'knn': 100, 'linear': 100, 'linear_10': 100}
    wrong = frozen_accuracy(model, state, (images[::2], labels[::2]), (images[1::2], 1 - labels[1::2]))
    assert wrong == {'knn': 0, 'linear': 0, 'linear_10': 0}
    del state[f'{prefix}{name}']
    with pytest.raises(UsageError, match=f'the weights have no {name}'):
        frozen_accuracy(model, state, (images, labels), (images, labels))


def test_no_tested_class_is_asked_about(data_root):
    names = untested_names(data_root('tiny-imagenet-200'))
    assert len(names) > 970 and len(set(names)) == len(names)
    # Of Tiny-ImageNet's first and last tested classes, and of the one that follows.
    assert not {'goldfish', 'praying mantis', 'baluster / handrail', 'beaker'} & set(names)
    assert {'tench', 'beer bottle'} <= set(names)


def test_results_of_other_settings_are_not_mixed_in(tmp_path):
    file = tmp_path / 'results.csv'
    values = dict(knn=1.0, linear=2.0, linear_10=3.0, seconds=4.0)
    results = Results(file, 'test')
    results.add('LFI', 0, 'aa', **values)
    results.add('LFI', 1, 'aa', **{**values, 'knn': 3.0})
    again = Results(file, 'test')
    assert again.has('LFI', 0, 'aa') and not again.has('LFI', 2, 'aa') and not again.has('other', 0, 'aa')
    assert again.table() == results.table() and '| LFI | 2 | 2.0 ± 1.4 | 2.0 ± 0.0 |' in again.table()
    with pytest.raises(UsageError, match='LFI, seed 1, was run with other settings: remove the row'):
        again.has('LFI', 1, 'bb')
    # Differences are of shared seeds, with Student's interval for two: 12.7 standard errors.
    for seed, knn in enumerate((1.5, 2.5, 9.0)):
        results.add('other', seed, 'cc', **{**values, 'knn': knn})
    row = '| other | +0.0 (-6.4 to +6.4) | +0.0 (+0.0 to +0.0) | +0.0 (+0.0 to +0.0) |'
    results.add('untrained', 0, 'dd', **values)
    assert row in results.differences('LFI') and '| untrained | – | – | – |' in results.differences('LFI')
    # Tuning has rows of its own, and leaves the others, also those that were added meanwhile.
    tuning = Results(file, 'tuning')
    assert not tuning.has('LFI', 0, 'aa')
    results.add('meanwhile', 0, 'ee', **values)
    tuning.add('LFI', 0, 'bb', **values)
    assert Results(file, 'test').table() == results.table()
    assert tuning.has('LFI', 0, 'bb')


def test_no_tested_image_is_trained_on(data_root, tmp_path):
    source = data_root('tiny-imagenet-200')
    tested = class_folders(source)[:NUM_TEST_CLASSES]
    photos = list(write_photos(source, tmp_path / 'photos', 3).iterdir())
    assert len(photos) == 3 * (len(class_folders(source)) - NUM_TEST_CLASSES)
    assert not {Path(path).resolve().parents[1].name for path in photos} & set(tested)
    (known, labels), (asked, truth) = split_images(source, tuning=False)
    assert known.shape == (2000, 3, 64, 64) and len(asked) == 1000
    assert truth.bincount().tolist() == [50] * 20 and labels.bincount().tolist() == [100] * 20
    (half, _), (other, _) = split_images(source, tuning=True)
    # The validation images choose nothing.
    assert torch.equal(torch.stack((half, other), 1).flatten(0, 1), known)
