"""Labels of images that have none, by a teacher or by a student."""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import closing
from pathlib import Path

import matplotlib
from tqdm import tqdm

from lfi.apis import list_sources
from lfi.apis.sources import FileSource, check_output
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError, as_usage_error
from lfi.evenly_spaced import evenly_spaced
from lfi.matplotlib_settings import save_figure
from lfi.pseudo_labels import readers
from lfi.pseudo_labels.drawing import draw_labels
from lfi.pseudo_labels.label_files import label_files, read_image, unlabelled
from lfi.pseudo_labels.label_log import LabelLog
from lfi.pseudo_labels.readers import StudentReader, TeacherReader
from lfi.pseudo_labels.written_labels import write_labels


def image_files(inputs: list[str]) -> list[FileSource]:
    """Each image file once."""
    with as_usage_error(OSError, ValueError):
        sources = list_sources(inputs)
    files: dict[str, FileSource] = {}
    for source in sources:
        if not isinstance(source, FileSource):
            raise UsageError(f'{source.name} is a video: data sets read images; write its frames as files')
        if '://' in source.name:
            raise UsageError(
                f'{source.name} is an address: labels are those of files here, so fetch it first'
            )
        # In whatever folder the command is run, a name in the log is of one image.
        path = os.path.abspath(source.name)
        files.setdefault(path, FileSource(path))
    return list(files.values())


def write_picture(path: Path, records: list[dict], concepts: tuple[str, ...], count: int) -> None:
    """Draw evenly spaced images."""
    chosen = [records[i] for i in evenly_spaced(len(records), count)]
    images = [read_image(FileSource(record['file']))[..., ::-1] for record in chosen]
    save_figure(draw_labels(images, chosen, concepts), path, dpi=110)


def label(reader: TeacherReader | StudentReader, args: Namespace) -> None:
    """Label the images that have no labels yet, and write the labels of all.

    Raises:
        UsageError: If no image can be read.
    """
    rules = readers.rules_of(args, reader)
    check_output(args.images, args.out, '--out')
    sources, out = image_files(args.images), Path(args.out)
    with closing(LabelLog(out / 'log.jsonl', {**reader.identity, **vars(rules)})) as log:
        done = len(sources) - len(unlabelled(sources, log))
        with tqdm(total=len(sources), initial=done, unit=' images', smoothing=0.05) as bar:
            for count in label_files(reader, sources, rules, log, args.batch_size):
                bar.update(count)
    records = [log[source.name] for source in sources]
    root = write_labels(out, records, reader.concepts)
    good = [record for record in records if 'error' not in record]
    bad = len(records) - len(good)
    if not good:
        raise UsageError(f'none of the {bad} images can be read: {out}/unreadable.txt says why')
    if args.pictures:
        write_picture(out / 'labels.png', good, reader.concepts, args.pictures)
    objects = sum(len(record['objects']) for record in good)
    shown = sum(bool(record['presence']) for record in good)
    print(f'{out}: {objects:,} objects in {len(good):,} images, of which {shown:,} show a concept')
    if bad:
        print(f'{bad:,} images cannot be read: unreadable.txt names them')
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


def main(args: Namespace) -> None:
    """Run the tool."""
    matplotlib.use('Agg')
    cfg = load_config(args.config, args.cfg_options)
    label(readers.reader_of(args, cfg), args)
