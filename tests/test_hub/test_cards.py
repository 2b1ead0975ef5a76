"""The cards say what is known of a run or a cache, and nothing else."""

import re

import lfi
import yaml
from lfi.hub import cards
from lfi.hub.cards import cache_card, pipeline_tag
from lfi.registry import MODELS
from lfi.structures.interaction_cache import CacheManifest
from mmengine.registry import init_default_scope


def parts_of(card):
    """The metadata, and the rows of all tables by their names."""
    _, header, body = card.split('---\n', 2)
    return yaml.safe_load(header), dict(re.findall(r'^\| (.+?) \| (.+) \|$', body, re.M))


def test_a_run_says_its_data_its_teacher_and_its_metrics(run_folder, tmp_path):
    card = dict(license='apache-2.0', tags=['shapes'], datasets=['me/shapes'])
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', model_card=card)
    header, rows = parts_of((folder / 'README.md').read_text())
    assert header == dict(
        library_name='lfi',
        pipeline_tag='image-classification',
        license='apache-2.0',
        tags=['lfi', 'knowledge-distillation', 'shapes'],
        datasets=['me/shapes'],
    )
    assert rows['data'] == "`lfi.Shapes(split='train', num_images=3200)`"
    assert (rows['teacher'], rows['extractor'], rows['epochs'], rows['seed']) == (
        '`shapes-tiny`',
        'dense',
        '2 of 10',
        '7',
    )
    # The validation of this epoch, not of the other.
    assert rows['accuracy/top1, validation'] == '62.5'
    assert not any('test' in name for name in rows)


def test_a_model_alone_says_nothing_of_a_run(small_student, tmp_path):
    model, cfg = small_student()
    folder = lfi.save_pretrained(model, tmp_path, config=cfg)
    header, rows = parts_of((folder / 'README.md').read_text())
    assert header.keys() == {'library_name', 'pipeline_tag', 'tags'}
    assert not rows.keys() & {'epochs', 'seed', 'accuracy/top1, validation'}


def test_one_tag_is_a_tag(run_folder, tmp_path):
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', model_card=dict(tags='vision'))
    header, _ = parts_of((folder / 'README.md').read_text())
    assert header['tags'] == ['lfi', 'knowledge-distillation', 'vision']


def test_wrapped_data_are_told_with_what_is_known_of_labels():
    inner = dict(type='lfi.Shapes', split='train', data_root='/home/me', pipeline=[])
    wrapped = dict(type='lfi.FewLabels', labels_per_class=10, dataset=inner)
    assert cards.dataset_text(dict(inner, classes='/home/me/classes.txt')) == "lfi.Shapes(split='train')"
    assert cards.dataset_text(wrapped) == "lfi.FewLabels(lfi.Shapes(split='train'), labels_per_class=10)"


def test_a_detector_and_a_pretrainer_have_their_tasks(small_config):
    init_default_scope('mmpretrain')
    pretraining = small_config('pretraining/lfi-pretrain_vit-128x6-p8_shapes.py').model
    assert pipeline_tag(MODELS.build(pretraining)) == 'image-feature-extraction'
    init_default_scope('mmdet')
    detection = small_config('detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py').model
    detection.neck.in_channels = 16
    assert pipeline_tag(MODELS.build(detection)) == 'image-segmentation'


def test_a_cache_is_described_by_its_manifest(small_cache):
    header, rows = parts_of(cache_card(CacheManifest.read(small_cache), dict(license='cc0-1.0')))
    assert header == dict(license='cc0-1.0', tags=['lfi', 'knowledge-distillation'])
    assert (rows['images'], rows['teacher'], rows['directions']) == ('2', '`shapes-tiny`', 'spatial')
    assert 'labels that chose concepts' not in rows
