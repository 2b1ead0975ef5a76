"""A complete config for a data set: the task's, with the student and the teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from mmengine.config import Config

from lfi.adaptation import CheckReport, UserConfig, build_overlay, check_config
from lfi.adaptation.backbone import INHERITED, adapt_backbone
from lfi.adaptation.class_names import read_concepts
from lfi.adaptation.overlay import build_model
from lfi.adaptation.source import Call, assignments
from lfi.adaptation.teacher import (
    SMALL_IMAGE,
    SMALL_INPUT,
    configure_teacher,
    find_teacher,
    has_small_input,
    interactions_config,
)
from lfi.concepts import concept_names
from lfi.errors import UsageError
from lfi.utils.folders import make_folder

from .labelled_image import FoundData
from .models import BaseModel, find_classifier, find_dense_model
from .settings import Settings, typical_size
from .tasks import classification_config, detection_config, pretraining_config, segmentation_config
from .tasks.detector_size import check_detector_size
from .tasks.merging import merge, without_delete
from .tasks.weights import describe_weights
from .unlabelled import complete_labelled, with_large_weights

DEFAULT_MODELS = {
    'classification': 'resnet18',
    'multi-label classification': 'resnet18',
    'pretraining': 'resnet18',
    'object detection': 'rtmdet_tiny',
    'instance segmentation': 'mask-rcnn_r50_fpn_1x_coco',
    'semantic segmentation': 'fpn_r50',
}
IMAGENET_CONCEPTS = {'type': 'lfi.ImageNetNames'}


@dataclass(frozen=True)
class WrittenConfig:
    """Config that was written for a data set.

    Args:
        report: result of its check.
        cached: whether training can read a cache of the teacher's maps.
        changes: (topic, description) of the student, the teacher and the pipelines.
    """

    report: CheckReport
    cached: bool
    changes: list[tuple[str, str]]


def write_config(
    data: FoundData, model: str | None, teacher: str, concepts: str | None, settings: Settings, out: Path
) -> WrittenConfig:
    """Write the config of a student, and the annotation files beside it, and check it.

    Args:
        data: the data set.
        model: name of the model. None: a small model for the task.
        teacher: name of the teacher, see `lfi.adaptation.teacher.find_teacher`.
        concepts: file with one text a line for images without labels. None: the names of ImageNet.
        settings: settings of the training.
        out: path of the config. Files of annotations go into the folder `<name>_data` beside it.

    Raises:
        UsageError: if the model or the teacher is unknown, or the config cannot be built.
    """
    find_teacher(teacher)
    _check_few_labels(data, settings)
    make_folder(out.parent, f'--out {out}')
    annotations = out.parent / f'{out.stem}_data'
    before = set(annotations.glob('*'))
    try:
        return _write(data, model or DEFAULT_MODELS[data.task], teacher, concepts, settings, out, annotations)
    except BaseException:
        _remove_new_files(annotations, before)
        raise


def _write(
    data: FoundData,
    name: str,
    teacher: str,
    concepts: str | None,
    settings: Settings,
    out: Path,
    annotations: Path,
) -> WrittenConfig:
    if data.task == 'pretraining':
        return _write_pretraining(data, find_classifier(name), teacher, concepts, settings, out)
    if 'classification' in data.task:
        base = find_classifier(name)
        variables = classification_config(data, base, settings, annotations)
    elif data.task == 'semantic segmentation':
        base = find_dense_model(name, 'mmseg')
        variables = segmentation_config(data, base, settings, annotations)
    else:
        base = find_dense_model(name, 'mmdet')
        variables = detection_config(data, base, settings, annotations)
    return _write_student(data, name, variables, base, teacher, settings, out)


def _write_student(
    data: FoundData,
    name: str,
    variables: Mapping[str, Any],
    base: BaseModel,
    teacher: str,
    settings: Settings,
    out: Path,
) -> WrittenConfig:
    """Add the student to the config of a task, write it and check it."""
    cfg = _load(variables, out)
    unlabelled = None if data.unlabelled is None else str(data.unlabelled.root)
    overlay = build_overlay(UserConfig(out, None, cfg), out, teacher, unlabelled=unlabelled)
    if settings.input_size is not None and data.task in ('object detection', 'instance segmentation'):
        check_detector_size(overlay.task_model, settings.input_size, typical_size(data), name)
    changes = {name: value for name, value in overlay.variables.items() if name != '_base_'}
    if changes['custom_imports'] == cfg.get('custom_imports'):
        del changes['custom_imports']
    if unlabelled is not None:
        changes = complete_labelled(variables, changes, cfg)
    merged = merge(variables, changes)
    model = merged['model']
    if model.get('backbone', {}).get('backbone') == INHERITED and 'backbone' in variables['model']:
        model['backbone'] = {**model['backbone'], 'backbone': cfg.model.backbone.to_dict()}
    few_labels = unlabelled is not None or settings.labels_per_class is not None
    if few_labels and data.task != 'semantic segmentation':
        interactions = with_large_weights(model['supervision']['interactions'])
        model['supervision'] = {'interactions': interactions}
    if few_labels and data.task == 'classification':
        # Ahead of the head where labels are few (research/results.md).
        model['predict_by'] = {'type': 'lfi.ByTexts'}
    elif 'classification' in data.task and max(typical_size(data)) <= SMALL_IMAGE:
        # Without labels, the teacher decides, and its larger input is worth its time.
        model['teacher'] = _for_small_images(model['teacher'], find_teacher(teacher)['model'])
    if base.base is None:
        merged['model'] = without_delete(model)
    if unlabelled is not None and 'classification' in data.task:
        merged['train_dataloader'] = without_delete(merged['train_dataloader'])
    summary = [*overlay.summary, ('weights', describe_weights(cfg.model.get('backbone') or {}, name))]
    if settings.labels_per_class is not None:
        summary.append(('labels', f'{settings.labels_per_class} of each class'))
    if 'predict_by' in model:
        summary.append(('prediction', 'by the texts of the classes, as presence is learnt from all images'))
    return _write_and_check(merged, out, overlay.task_model, overlay.can_cache, summary)


def _for_small_images(teacher: Call, model: str) -> Call:
    if not has_small_input(model):
        return teacher
    return replace(teacher, kwargs={**teacher.kwargs, 'input_size': SMALL_INPUT})


def _write_pretraining(
    data: FoundData, base: BaseModel, teacher: str, file: str | None, settings: Settings, out: Path
) -> WrittenConfig:
    concepts: Any = IMAGENET_CONCEPTS if file is None else read_concepts(file)
    names = concept_names(concepts) if file is None else concepts
    call, config = configure_teacher(teacher, concepts, len(names), is_dense=False)
    model = {**base.model, 'backbone': dict(base.model['backbone'])}
    adapted = adapt_backbone(model, 'mmpretrain')
    variables = pretraining_config(data, base, adapted, call, interactions_config(config), settings)
    plain = Config(
        {
            'model': {
                '_scope_': 'mmpretrain',
                'type': 'lfi.Student',
                'backbone': variables['model']['backbone'],
            }
        }
    )
    source = 'ImageNet' if file is None else file
    limit = f', at most {config["max_concepts"]} for each image' if 'max_concepts' in config else ''
    summary = [
        ('backbone', adapted.description),
        ('teacher', f'{teacher} is asked about {len(names)} concepts of {source}{limit}'),
    ]
    task_model = build_model(plain, str(out))
    return _write_and_check(variables, out, task_model, True, summary)


def _load(variables: Mapping[str, Any], out: Path) -> Config:
    """Load the config of a task as if it lay at `out`."""
    with NamedTemporaryFile('w', prefix='lfi_init_', suffix='.py', dir=out.parent, encoding='utf-8') as file:
        file.write(assignments(variables))
        file.flush()
        return Config.fromfile(file.name)


def _write_and_check(
    variables: Mapping[str, Any], out: Path, task_model: Any, cached: bool, changes: list[tuple[str, str]]
) -> WrittenConfig:
    title = '# Written by `lfi init`. It is yours to change.\n'
    out.write_text(title + assignments(variables), encoding='utf-8')
    try:
        report = check_config(out, task_model)
        if report.data_state != 'read':
            raise UsageError(f'{out} was not written: {report.data}')
    except BaseException:
        out.unlink()
        raise
    return WrittenConfig(report, cached, changes)


def _check_few_labels(data: FoundData, settings: Settings) -> None:
    if data.unlabelled is not None and data.task == 'pretraining':
        raise UsageError(
            f'--unlabelled {data.unlabelled.root} goes beside labelled data, and {data.root} has no labels: '
            'put all images into one folder'
        )
    number = settings.labels_per_class
    if number is None:
        return
    if data.task != 'classification':
        raise UsageError(
            f'--labels-per-class is for images with one label, and the data are of {data.task}: leave it out'
        )
    counts = Counter(image.classes[0] for image in data.train)
    rarest = min(range(len(data.classes)), key=counts.__getitem__)
    if counts[rarest] < number:
        raise UsageError(
            f'--labels-per-class {number}: the class {data.classes[rarest]!r} has {counts[rarest]} training '
            'images'
        )


def _remove_new_files(folder: Path, before: set[Path]) -> None:
    """Remove the files of a folder that were not there before, and the folder if it is empty then."""
    for path in folder.glob('*'):
        if path.is_file() and path not in before:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
