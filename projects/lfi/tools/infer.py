"""Pictures and predictions of a trained model's images, folders and videos."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmcv
import numpy as np
from tqdm import tqdm

from lfi.apis import InteractionInferencer, InteractionResult, list_sources, result_record
from lfi.apis.sources import VideoSource
from lfi.engine import launch
from lfi.errors import UsageError

# Frames per second of a video that does not state them.
FPS = 25.0


def join_pictures(files: list[Path], video: Path, fps: float) -> None:
    """Write pictures of one size as an MP4 video, if OpenCV can write one here."""
    # Codecs need even sides.
    height, width = (side // 2 * 2 for side in mmcv.imread(files[0]).shape[:2])
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        print(f'OpenCV cannot write {video} here; its frames are written as pictures alone')
        return
    for file in files:
        writer.write(np.ascontiguousarray(mmcv.imread(file)[:height, :width]))
    writer.release()


def write_results(
    inferencer: InteractionInferencer, results: Iterator[InteractionResult], args: Namespace
) -> None:
    """Write a picture and a record of each result.

    Raises:
        UsageError: If no input could be read.
    """
    sources, out = list_sources(args.inputs), Path(args.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    records: list[dict] = []
    frames: defaultdict[str, list[Path]] = defaultdict(list)
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
        raise UsageError(f'no input could be read: {skipped}')
    for source in sources:
        if isinstance(source, VideoSource) and source.name in frames:
            files = frames.pop(source.name)
            join_pictures(files, files[0].with_suffix('.mp4'), (source.fps or FPS) / args.frame_stride)
    text = json.dumps(records, indent=1, ensure_ascii=False)
    (out / 'predictions.json').write_text(f'{text}\n', encoding='utf-8')
    print(f'{len(records)} pictures and predictions.json in {out}{skipped and f"; skipped: {skipped}"}')


def main(args: Namespace) -> None:
    """Run the tool."""
    launch.require_checkpoint(args.checkpoint)
    cfg = launch.load_config(args.config, args.cfg_options)
    try:
        inferencer = InteractionInferencer(cfg, args.checkpoint, args.device, args.templates)
        results = inferencer.stream(args.inputs, args.texts, args.batch_size, args.frame_stride)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error
    write_results(inferencer, results, args)
