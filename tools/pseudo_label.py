"""Label images that have no labels, by a teacher or by a student that learnt from one.

python tools/pseudo_label.py configs/teachers/lit-lite0_coco.py photos/ --out work_dirs/labels --pictures 12
python tools/pseudo_label.py CONFIG photos/ --checkpoint FILE --texts dog 'red car' --out work_dirs/labels

Writes annotations.json of COCO's format, with boxes, masks and scores; labels.txt and classes.txt for
classification; and scores.csv. A run that was stopped goes on by the same command.
tools/eval_pseudo_labels.py measures such labels, and chooses thresholds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
import numpy as np
from lfi.apis import list_sources
from lfi.apis.sources import FileSource
from lfi.engine import launch
from lfi.pseudo_labels import LabelLog, StudentReader, TeacherReader, options, write_labels
from lfi.pseudo_labels.drawing import draw_labels
from lfi.pseudo_labels.label_files import label_files, read_image
from tqdm import tqdm


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    parser.add_argument('images', nargs='+', help='images, and folders of images with their subfolders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the labels')
    options.add_reader_arguments(parser)
    options.add_rule_arguments(parser)
    parser.add_argument(
        '--pictures',
        type=int,
        default=0,
        metavar='N',
        help='draw N of the images in labels.png (%(default)s)',
    )
    return parser.parse_args()


def image_files(inputs: list[str]) -> list[FileSource]:
    """Each image file once."""
    try:
        sources = list_sources(inputs)
    except (OSError, ValueError) as error:
        raise launch.UsageError(str(error)) from error
    videos = [source.name for source in sources if not isinstance(source, FileSource)]
    if videos:
        raise launch.UsageError(f'{videos[0]} is a video: data sets read images; write its frames as files')
    return list({source.name: source for source in sources}.values())


def write_picture(path: Path, records: list[dict], concepts: tuple[str, ...], count: int) -> None:
    """Draw evenly spaced images."""
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, min(count, len(records))).astype(int)]
    images = [read_image(FileSource(record['file']))[..., ::-1] for record in chosen]
    draw_labels(images, chosen, concepts).savefig(path, dpi=110)


def label(reader: TeacherReader | StudentReader, args: Namespace) -> None:
    rules = options.rules_of(args, reader)
    sources, out = image_files(args.images), Path(args.out)
    log = LabelLog(out / 'log.jsonl', {**reader.identity, **vars(rules)})
    done = sum(source.name in log for source in sources)
    with tqdm(total=len(sources), initial=done, unit=' images', smoothing=0.05) as bar:
        for count in label_files(reader, sources, rules, log, args.batch_size):
            bar.update(count)
    records = [log[source.name] for source in sources]
    root = write_labels(out, records, reader.concepts)
    good = [record for record in records if 'error' not in record]
    bad = len(records) - len(good)
    if not good:
        raise launch.UsageError(f'none of the {bad} images can be read: {out}/unreadable.txt says why')
    if args.pictures:
        write_picture(out / 'labels.png', good, reader.concepts, args.pictures)
    objects = sum(len(record['objects']) for record in good)
    shown = sum(bool(record['presence']) for record in good)
    print(f'{out}: {objects:,} objects in {len(good):,} images, of which {shown:,} show a concept')
    if bad:
        print(f'{bad:,} images cannot be read: unreadable.txt names them')
    coco = dict(ann_file=f'{out}/annotations.json', data_prefix=dict(img=str(root)))
    custom = dict(ann_file=f'{out}/labels.txt', data_prefix=str(root), classes=f'{out}/classes.txt')
    print(f'mmdet: {dict(type="CocoDataset", **coco)}, and metainfo=dict(classes=...) of classes.txt')
    print(f'mmpretrain: {dict(type="CustomDataset", **custom)}')


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args.config, args.cfg_options)
    label(options.reader_of(args, cfg), args)


if __name__ == '__main__':
    launch.run(main)
