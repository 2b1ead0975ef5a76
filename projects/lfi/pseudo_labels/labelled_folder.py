"""Pseudo-labels for a folder of images, from a teacher or a student."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from mmengine import dist
from tqdm import tqdm

from lfi.apis import StudentReader, TeacherReader, list_sources
from lfi.apis.sources import FileSource, check_output
from lfi.engine.processes import patient_group
from lfi.errors import UsageError, as_usage_error
from lfi.utils.arrays import evenly_spaced
from lfi.utils.matplotlib_settings import save_figure

from .drawing import draw_labels
from .label_files import label_files, read_image, unlabelled_sources
from .label_formats import FORMATS, OUTPUTS, check_names
from .label_log import LabelLog, log_path
from .label_rules import LabelRules
from .written_labels import common_folder, with_scores_from, write_labels


def image_files(inputs: list[str]) -> list[FileSource]:
    """Return the image files of the inputs, each once, by absolute path."""
    with as_usage_error(OSError, ValueError):
        sources = list_sources(inputs)
    files: dict[str, FileSource] = {}
    for source in sources:
        if not isinstance(source, FileSource):
            raise UsageError(f'{source.name} is a video: data sets read images, so write its frames as files')
        if '://' in source.name:
            raise UsageError(
                f'{source.name} is an address: only local files are labelled, so download it first'
            )
        # Absolute names keep the log valid in every working directory.
        path = os.path.abspath(source.name)
        files.setdefault(path, FileSource(path))
    for name in inputs:
        if not os.path.exists(name):
            raise UsageError(f'{name} does not exist: give files or folders of images')
    return list(files.values())


def write_picture(path: Path, records: list[dict], concepts: tuple[str, ...], count: int) -> None:
    """Draw the labels of `count` evenly spaced images."""
    drawn = [records[i] for i in evenly_spaced(len(records), count)]
    images = [read_image(FileSource(record['file']))[..., ::-1] for record in drawn]
    save_figure(draw_labels(images, drawn, concepts), path, dpi=110)


def label_images(
    reader: TeacherReader | StudentReader,
    rules: LabelRules,
    inputs: list[str],
    folder: str,
    batch_size: int,
    num_pictures: int,
    formats: Sequence[str] = (),
) -> None:
    """Label the images that have no labels yet, and write the labels of all images.

    Several processes of a launcher share the images, and the first one writes.

    Args:
        reader: reader of a teacher or a student.
        rules: thresholds of labels.
        inputs: images and folders of images.
        folder: folder of the labels.
        batch_size: number of images in a batch.
        num_pictures: number of images in the picture of labels.
        formats: names of further formats, keys of `FORMATS`. Defaults to none.

    Raises:
        UsageError: if no image can be read, or a format cannot hold the name of an image.
    """
    check_output(inputs, folder, '--out')
    sources, out = image_files(inputs), Path(folder)
    # A format that lies there from an earlier run would keep other labels.
    formats = [kind for kind in FORMATS if kind in formats or (out / OUTPUTS[kind]).exists()]
    root = common_folder(source.name for source in sources)
    check_names([os.path.relpath(source.name, root) for source in sources], formats)
    settings, is_first = {**reader.identity, **rules.of_answers}, dist.get_rank() == 0
    with closing(LabelLog(log_path(out, dist.get_rank()), settings)) as log:
        # All logs exist before one is read.
        dist.barrier()
        others = patient_group()
        log.read_others()
        unlabelled = unlabelled_sources(sources, log)
        num_done = len(sources) - len(unlabelled)
        with tqdm(
            total=len(sources), initial=num_done, unit=' images', disable=not is_first, smoothing=0.05
        ) as bar:
            for count in label_files(reader, unlabelled, rules, log, batch_size):
                # All processes are about as fast.
                bar.update(min(count * dist.get_world_size(), len(sources) - bar.n))
        dist.barrier(others)
        log.read_others()
    if not is_first:
        return
    records = [log[source.name] for source in sources]
    root = write_labels(out, records, reader.concepts, formats, rules.min_score)
    found = [record for record in records if 'error' not in record]
    readable = [with_scores_from(record, rules.min_score) for record in found]
    num_unreadable = len(records) - len(readable)
    if not readable:
        raise UsageError(f'none of the {num_unreadable} images can be read: {out}/unreadable.txt says why')
    (out / 'labels.png').unlink(missing_ok=True)
    if num_pictures:
        write_picture(out / 'labels.png', readable, reader.concepts, num_pictures)
    counts = Counter(reader.concepts[obj['concept']] for record in readable for obj in record['objects'])
    num_found = sum(len(record['objects']) for record in found)
    num_positive = sum(bool(record['presence']) for record in readable)
    least = f' with a score of {rules.min_score:g} or more, of {num_found:,},' if rules.min_score else ''
    where = f'{len(readable):,} images, {num_positive:,} with a concept'
    print(f'{out}: {counts.total():,} objects{least} in {where}')
    print(', '.join(f'{name} {count:,}' for name, count in counts.most_common()))
    if num_unreadable:
        print(f'{num_unreadable:,} images cannot be read: unreadable.txt names them')
    annotations, labels, classes = (
        os.path.abspath(out / name) for name in ('annotations.json', 'labels.txt', 'classes.txt')
    )
    print(
        f"mmdet: dict(type='CocoDataset', ann_file={annotations!r}, data_prefix=dict(img={str(root)!r}), "
        f'metainfo=dict(classes={list(reader.concepts)}))'
    )
    print(
        f"mmpretrain: dict(type='CustomDataset', ann_file={labels!r}, data_prefix={str(root)!r}, "
        f'classes={classes!r})'
    )
