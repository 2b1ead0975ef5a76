"""The quality of the labels that a teacher or a student gives to images that have annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS
from tqdm import tqdm

from lfi.apis import StudentReader, TeacherReader
from lfi.concepts.names import moved_name
from lfi.datasets import unaugmented
from lfi.errors import UsageError, as_usage_error
from lfi.unreadable import refuse_unreadable
from lfi.utils import markdown
from lfi.utils.arrays import evenly_spaced

from .label_rules import LabelRules
from .quality import AnnotatedImage, compare, sweep_masks, sweep_presence

PRESENCE = ('precision', 'recall', 'f1', 'first')
OBJECTS = ('mean_iou', 'box_ap', 'box_recall', 'mask_ap', 'mask_recall')
TITLES = dict(
    precision='precision',
    recall='recall',
    f1='F1',
    first='first class',
    mean_iou='mean IoU',
    box_ap='box AP50',
    box_recall='box recall',
    mask_ap='mask AP50',
    mask_recall='mask recall',
)


def read(
    cfg: Config, reader: TeacherReader | StudentReader, batch_size: int, num_images: int | None
) -> list[AnnotatedImage]:
    """The annotations of the validation images, and what is said of these images."""
    dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
    refuse_unreadable(dataset)
    check_concepts(reader.concepts, dataset.metainfo.get('classes'))
    chosen = evenly_spaced(len(dataset), num_images or len(dataset))
    images: list[AnnotatedImage] = []
    with tqdm(total=len(chosen), unit=' images') as bar:
        for start in range(0, len(chosen), batch_size):
            results = [dataset[i] for i in chosen[start : start + batch_size]]
            answers = reader([each['img'] for each in results])
            images += map(AnnotatedImage.of, results, answers)
            bar.update(len(results))
    return images


def check_concepts(concepts: Sequence[str], classes: Sequence[str] | None) -> None:
    """Check that the concepts that are asked about begin with a data set's classes, in their order.

    Raises:
        UsageError: There are fewer of them, or one has the name of another class.
    """
    names = classes or ()
    if len(concepts) < len(names):
        raise UsageError(
            f'{len(concepts)} concepts are asked about, and the data set has {len(names)} classes: name each '
            'of them, in their order and by texts that differ (--texts)'
        )
    if moved := moved_name(concepts[: len(names)], names):
        here, _ = moved
        raise UsageError(
            f'the concept {concepts[here]!r} stands where the data set has the class {names[here]!r}: name '
            'the classes in their order (--texts)'
        )


def table(rows: Mapping, columns: tuple[str, ...], head: str) -> str:
    """A table of Markdown, in per cent: a row for each entry, whose title is `head`."""
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
    """Print how well labels agree with the annotations of the validation images.

    Args:
        cfg: has the validation set.
        reader: a teacher, or a student.
        rules: from answers to labels.
        batch_size: images at once.
        num_images: how many, evenly spaced; all where it is None.
        sweep: whether what other thresholds give is printed, too.

    Raises:
        UsageError: if the concepts do not fit the classes, or nothing can be compared.
    """
    images = read(cfg, reader, batch_size, num_images)
    settings = ', '.join(f'{name}={value:g}' for name, value in vars(rules).items())
    with as_usage_error(ValueError):
        found = compare(images, rules)
    print(f'\n{len(images)} images; {settings}; in %\n')
    print(table(found, (*PRESENCE, *OBJECTS), 'labels'))
    if sweep:
        print(f'\n{table(sweep_presence(images), PRESENCE, "presence threshold")}')
        print(f'\n{table(sweep_masks(images, rules), OBJECTS, "mask threshold")}')
