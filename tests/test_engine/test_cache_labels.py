"""The labels that chose what a cache keeps, against those that the training knows."""

import json
from pathlib import Path

import pytest
from lfi.datasets import FewLabels
from lfi.engine.cache_labels import check_labels_of_cache, label_visibility
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.errors import UsageError
from lfi.structures import OTHER
from lfi.structures.interaction_cache import CacheManifest
from mmengine.config import Config

PLAIN = dict(type='lfi.Shapes')
FEW = dict(type='lfi.FewLabels', labels_per_class=3, dataset=PLAIN)
NONE = dict(type=FewLabels, labels_per_class=0, dataset=PLAIN)
FOLDER = dict(type='lfi.ImageFolder', data_root='images')


def joined(*datasets):
    return dict(type='ConcatDataset', datasets=list(datasets))


@pytest.mark.parametrize(
    ('dataset', 'labels'),
    [
        (PLAIN, 'known'),
        (dict(type='RepeatDataset', dataset=PLAIN), 'known'),
        (FEW, 'hidden'),
        (dict(type='RepeatDataset', dataset=NONE), 'hidden'),
        (joined(FEW, NONE), 'hidden'),
        (FOLDER, 'hidden'),
        (joined(PLAIN, FOLDER), 'mixed'),
        (joined(PLAIN, PLAIN), 'known'),
        (joined(PLAIN, NONE), 'mixed'),
        (joined(NONE, PLAIN), 'mixed'),
        (dict(type='lfi.SemiSupervisedDataset', datasets=[PLAIN, joined(PLAIN, PLAIN)]), 'mixed'),
    ],
)
def test_a_config_says_which_labels_choose(dataset, labels):
    assert label_visibility(Config(dict(dataset=dataset)).dataset) == labels


@pytest.fixture
def write_manifest(make_maps, tmp_path):
    def write(labels, chosen=True):
        maps = make_maps(shape=(1, 1, 2, 2, 2))
        if chosen:
            maps = make_maps(shape=(1, 1, 2, 2, 2), concepts=maps.presence.new_tensor([[1, OTHER]]).long())
        manifest = CacheManifest.of(dict(max_concepts=1), 1, 2, maps.presence.numpy(), maps, labels)
        Path(tmp_path, 'manifest.json').write_text(json.dumps(manifest.content()))
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    ('written', 'dataset', 'message'),
    [
        ('known', FEW, r"was written with labels='known', but train_dataloader.dataset has labels='hidden'"),
        ('hidden', PLAIN, r"was written with labels='hidden', but .* has labels='known'"),
        ('known', joined(PLAIN, NONE), r"labels='known', but .* has labels='mixed'"),
        (None, PLAIN, r"was written with labels=None, but .* has labels='known'"),
    ],
)
def test_other_labels_are_refused_where_they_choose(write_manifest, written, dataset, message):
    cache = write_manifest(written)
    with pytest.raises(UsageError, match=message) as refused:
        check_labels_of_cache(cache, dataset)
    assert 'model.teacher.max_concepts=None' in str(refused.value)
    # As the tool for training does.
    pipeline = [dict(type='lfi.RecordView'), dict(type='lfi.LoadInteractionMaps')]
    cfg = Config(
        dict(
            model=dict(teacher=dict(cache=cache)),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dataset, pipeline=pipeline)),
        )
    )
    with pytest.raises(UsageError, match=message):
        set_teacher_cache(cfg)


@pytest.mark.parametrize(
    ('written', 'dataset'),
    [
        ('known', PLAIN),
        ('hidden', FEW),
        ('hidden', NONE),
    ],
)
def test_the_same_labels_pass_whatever_their_number_is(write_manifest, written, dataset):
    check_labels_of_cache(write_manifest(written), dataset)


@pytest.mark.parametrize('dataset', [PLAIN, FEW])
def test_a_cache_of_all_maps_serves_all_choices_and_notes_none(write_manifest, dataset):
    cache = write_manifest('known', chosen=False)
    assert json.loads(Path(cache, 'manifest.json').read_text())['labels'] is None
    check_labels_of_cache(cache, dataset)


def test_a_folder_that_is_no_cache_is_for_others_to_refuse(tmp_path):
    check_labels_of_cache(tmp_path / 'none', FEW)


def test_a_model_that_reads_no_label_has_a_cache_that_no_label_chose(write_manifest):
    assert (
        label_visibility(PLAIN, reads_labels=False)
        == label_visibility(joined(PLAIN, NONE), reads_labels=False)
        == 'hidden'
    )
    pipeline = [dict(type='lfi.RecordView'), dict(type='lfi.LoadInteractionMaps')]
    data = dict(dataset=dict(type='RepeatDataset', dataset=PLAIN, pipeline=pipeline))

    def cfg(labels):
        model = dict(type='lfi.Student', teacher=dict(cache=write_manifest(labels)))
        return Config(dict(model=model, train_dataloader=data))

    with pytest.raises(UsageError, match="written with labels='known', but .* has labels='hidden'"):
        set_teacher_cache(cfg('known'))
    set_teacher_cache(cfg('hidden'))
