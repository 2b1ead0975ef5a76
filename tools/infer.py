"""Run a trained model on images, folders and videos: pictures with its maps of texts, predictions as JSON.

python tools/infer.py CONFIG CHECKPOINT photos/ cat.jpg --texts 'red circle' star --out-dir work_dirs/seen
python tools/infer.py CONFIG CHECKPOINT clip.mp4 --frame-stride 5 --texts dog --out-dir work_dirs/seen

Each image, or frame of a video, gets a picture and a record in predictions.json. The pictures of a video are
also joined to a video.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import lfi  # noqa: F401
import mmcv
import numpy as np
from lfi.apis import InteractionInferencer, InteractionResult, list_sources, result_record
from lfi.engine import launch
from tqdm import tqdm

# Frames per second of a video that does not state them.
FPS = 25.0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    launch.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('inputs', nargs='+', help='images, folders of images, videos')
    parser.add_argument(
        '--texts',
        nargs='+',
        metavar='TEXT',
        help='texts to ask for (default: the classes of the training; pictures show the 5 strongest)',
    )
    parser.add_argument(
        '--templates',
        nargs='+',
        metavar='PROMPT',
        help="prompts for the texts, with {} for the text (default: the teacher's own)",
    )
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for pictures and predictions')
    parser.add_argument('--batch-size', type=int, default=8, help='images at once (%(default)s)')
    parser.add_argument(
        '--frame-stride', type=int, default=1, metavar='N', help='of a video, every N-th frame (%(default)s)'
    )
    parser.add_argument(
        '--device', help='device of the model, such as cpu or cuda:1 (default: a GPU if there is one)'
    )
    return parser.parse_args()


def join_pictures(files: list[Path], video: Path, fps: float) -> None:
    """Write pictures of one size as an MP4 video, if OpenCV can write one here."""
    # Codecs need even sides.
    height, width = (side // 2 * 2 for side in mmcv.imread(files[0]).shape[:2])
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        print(f'OpenCV cannot write {video} here; its frames are written as pictures alone')
        return
    for file in files:
        writer.write(np.ascontiguousarray(mmcv.imread(file)[:height, :width]))
    writer.release()


def write_results(
    inferencer: InteractionInferencer, results: Iterator[InteractionResult], args: argparse.Namespace
) -> None:
    sources, out = list_sources(args.inputs), Path(args.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    records, frames = [], defaultdict(list)
    total = sum(source.count(args.frame_stride) for source in sources)
    for result in tqdm(results, total=total, unit=' images'):
        (picture,) = inferencer.visualize(args.inputs, [result], args.texts)
        frame = '' if result.frame is None else f'_{result.frame:06d}'
        file = out / f'{len(records):05d}_{Path(result.name).stem}{frame}.png'
        mmcv.imwrite(picture[..., ::-1], str(file))
        records.append({**result_record(result, inferencer.classes), 'picture': file.name})
        if frame:
            frames[result.name].append(file)
    skipped = ', '.join(inferencer.skipped)
    if not records:
        raise launch.UsageError(f'no input could be read: {skipped}')
    for source in sources:
        if source.name in frames:
            files = frames.pop(source.name)
            join_pictures(files, files[0].with_suffix('.mp4'), (source.fps or FPS) / args.frame_stride)
    text = json.dumps(records, indent=1, ensure_ascii=False)
    (out / 'predictions.json').write_text(f'{text}\n', encoding='utf-8')
    print(f'{len(records)} pictures and predictions.json in {out}{skipped and f"; skipped: {skipped}"}')


def main() -> None:
    args = parse_args()
    launch.require_checkpoint(args.checkpoint)
    cfg = launch.load_config(args.config, args.cfg_options)
    try:
        inferencer = InteractionInferencer(cfg, args.checkpoint, args.device, args.templates)
        results = inferencer.stream(args.inputs, args.texts, args.batch_size, args.frame_stride)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise launch.UsageError(str(error)) from error
    write_results(inferencer, results, args)


if __name__ == '__main__':
    launch.run(main)
