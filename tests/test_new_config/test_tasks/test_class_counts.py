"""The number of classes in all heads of a model."""

from lfi.new_config.models import find_classifier, find_dense_model
from lfi.new_config.settings import Settings
from lfi.new_config.tasks.classes import with_num_classes
from lfi.new_config.tasks.classification import _model
from lfi.new_config.tasks.merging import merge


def numbers_in(value):
    if isinstance(value, dict):
        return {item for key, item in value.items() if key == 'num_classes'}.union(
            *map(numbers_in, value.values())
        )
    return set().union(*map(numbers_in, value)) if isinstance(value, list) else set()


def test_lists_of_heads_are_written_in_full():
    model = find_dense_model('cascade-rcnn_r50', 'mmdet').model
    changes = with_num_classes(model, 3)
    heads = changes['roi_head']['bbox_head']
    assert [head['num_classes'] for head in heads] == [3, 3, 3]
    assert heads[2]['bbox_coder'] == model['roi_head']['bbox_head'][2]['bbox_coder']
    assert numbers_in(merge(model, changes)) == {3}


def test_all_classes_of_a_panoptic_model_are_things():
    changes = with_num_classes(find_dense_model('mask2former_r50', 'mmdet').model, 3)
    head = changes['panoptic_head']
    assert (head['num_things_classes'], head['num_stuff_classes']) == (3, 0)
    assert head['loss_cls']['class_weight'] == [1.0, 1.0, 1.0, 0.1]
    assert changes['panoptic_fusion_head'] == {'num_things_classes': 3, 'num_stuff_classes': 0}


def test_a_loss_with_smoothed_labels_is_told():
    """mmpretrain's ClassNumCheckHook refuses a loss that finds the number by itself."""
    model = find_classifier('swin-tiny').model
    changes = with_num_classes(model, 3)
    assert changes['head'] == {'num_classes': 3, 'loss': {'num_classes': 3}}


def test_a_head_is_trained_without_a_teacher_of_its_own():
    base = find_classifier('efficientformer-l1')
    assert _model(base, Settings(), 3, False, 224)['head']['distillation'] is False
    assert 'distillation' not in _model(find_classifier('resnet18'), Settings(), 3, False, 224)['head']
