"""Evaluation of pseudo-labels on annotated images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS
from tqdm import tqdm

from lfi.apis import StudentReader, TeacherReader
from lfi.concepts.names import first_misplaced_name
from lfi.datasets import unaugmented
from lfi.errors import UsageError, as_usage_error
from lfi.unreadable import refuse_unreadable
from lfi.utils import markdown
from lfi.utils.arrays import evenly_spaced

from .label_rules import LabelRules
from .quality import AnnotatedImage, compare, sweep_masks, sweep_presence, sweep_scores

PRESENCE = ('precision', 'recall', 'f1', 'first')
BOXES = ('kept', 'precision', 'recall', 'f_half')
OBJECTS = ('mean_iou', 'box_ap', 'box_recall', 'mask_ap', 'mask_recall')
TITLES = dict(
    precision='precision',
    recall='recall',
    f1='F1',
    f_half='F0.5',
    kept='kept',
    first='first class',
    mean_iou='mean IoU',
    box_ap='box AP50',
    box_recall='box recall',
    mask_ap='mask AP50',
    mask_recall='mask recall',
)


def load_annotated_images(
    cfg: Config, reader: TeacherReader | StudentReader, batch_size: int, num_images: int | None
) -> list[AnnotatedImage]:
    """Return the annotations of the validation images with the answers of the model."""
    dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
    refuse_unreadable(dataset)
    check_concepts(reader.concepts, dataset.metainfo.get('classes'))
    indices = evenly_spaced(len(dataset), num_images or len(dataset))
    images: list[AnnotatedImage] = []
    with tqdm(total=len(indices), unit=' images') as bar:
        for start in range(0, len(indices), batch_size):
            results = [dataset[i] for i in indices[start : start + batch_size]]
            answers = reader([result['img'] for result in results])
            images += map(AnnotatedImage.from_results, results, answers)
            bar.update(len(results))
    return images


def check_concepts(concepts: Sequence[str], classes: Sequence[str] | None) -> None:
    """Check that the concepts begin with the classes of the data set, in order.

    Raises:
        UsageError: if there are fewer concepts than classes, or a concept has the name of another class.
    """
    names = classes or ()
    if len(concepts) < len(names):
        raise UsageError(
            f'{len(concepts)} concepts are asked about, and the data set has {len(names)} classes: give one '
            'distinct text for each class, in the order of the classes (--texts)'
        )
    if moved := first_misplaced_name(concepts[: len(names)], names):
        index, _ = moved
        raise UsageError(
            f'the concept {concepts[index]!r} stands where the data set has the class {names[index]!r}: give '
            'the texts in the order of the classes (--texts)'
        )


def quality_table(rows: Mapping, columns: tuple[str, ...], head: str) -> str:
    """Return a Markdown table of measures in per cent; `head` is the title of the first column."""
    cells = [
        [name, *(f'{100 * measures[column]:.1f}' for column in columns)] for name, measures in rows.items()
    ]
    return markdown.table([head, *(TITLES[column] for column in columns)], cells)


def print_quality(
    cfg: Config,
    reader: TeacherReader | StudentReader,
    rules: LabelRules,
    batch_size: int,
    num_images: int | None,
    sweep: bool,
) -> None:
    """Print the agreement of pseudo-labels with the annotations of the validation images.

    Args:
        cfg: config with the validation set.
        reader: reader of a teacher or a student.
        rules: thresholds of labels.
        batch_size: number of images in a batch.
        num_images: number of images, evenly spaced; None for all.
        sweep: whether to print the measures at other thresholds too.

    Raises:
        UsageError: if the concepts do not fit the classes, or fewer than two images have objects.
    """
    images = load_annotated_images(cfg, reader, batch_size, num_images)
    settings = ', '.join(f'{name}={value:g}' for name, value in vars(rules).items())
    with as_usage_error(ValueError):
        measures = compare(images, rules)
    print(f'\n{len(images)} images; {settings}; in %\n')
    print(quality_table(measures, (*PRESENCE, *OBJECTS), 'labels'))
    if sweep:
        print(f'\n{quality_table(sweep_presence(images), PRESENCE, "presence threshold")}')
        print(f'\n{quality_table(sweep_masks(images, rules), OBJECTS, "mask threshold")}')
        print('\nBoxes of all classes together, at an IoU of 0.5:\n')
        print(quality_table(sweep_scores(images, rules), BOXES, 'least score'))
