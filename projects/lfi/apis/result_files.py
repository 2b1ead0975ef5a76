"""Files of results: pictures, videos and predictions.json."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from tqdm import tqdm

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.folders import make_folder

from .interaction_result import InteractionResult, result_record
from .sources import VideoSource, check_output, list_sources

# Frames per second of a video whose file does not state them.
FPS = 25.0


def write_results(
    results: Iterable[InteractionResult],
    draw: Callable[[InteractionResult], np.ndarray],
    *,
    inputs: Sequence[str],
    classes: Sequence[str],
    skipped: Sequence[str],
    frame_stride: int,
    out_dir: str,
) -> None:
    """Write a picture and a record of each result, and join the pictures of a video.

    Args:
        results: Results of the inputs, in order.
        draw: Function that draws a result, (H, W, 3) uint8 RGB.
        inputs: Images, folders and videos.
        classes: Class names, by label.
        skipped: Names of inputs that could not be read; filled while `results` is iterated.
        frame_stride: Stride of the frames of a video.
        out_dir: Folder to write to.

    Raises:
        UsageError: If no input could be read, or the folder cannot be made or lies in an input folder.
    """
    check_output(inputs, out_dir, '--out-dir')
    sources, out = list_sources(inputs), make_folder(out_dir, '--out-dir')
    records: list[dict] = []
    frames: defaultdict[str, list[Path]] = defaultdict(list)
    total = sum(source.count(frame_stride) for source in sources)
    try:
        for result in tqdm(results, total=total, unit=' images'):
            frame = '' if result.frame is None else f'_{result.frame:06d}'
            # File names have at most 255 bytes.
            stem = os.fsdecode(os.fsencode(Path(result.name).stem)[:200])
            file = out / f'{len(records):05d}_{stem}{frame}.png'
            picture = draw(result)[..., ::-1]
            # Do not write through a symbolic link.
            file.unlink(missing_ok=True)
            mmcv.imwrite(picture, str(file))
            records.append({**result_record(result, classes), 'picture': file.name})
            if frame:
                frames[result.name].append(file)
    finally:
        # Keep the finished records if a result fails.
        _write_records(records, out)
    skipped_names = ', '.join(skipped).encode(errors='backslashreplace').decode()
    if not records:
        raise UsageError(f'no input could be read: {skipped_names}')
    for source in sources:
        if isinstance(source, VideoSource) and source.name in frames:
            files = frames.pop(source.name)
            join_pictures(files, files[0].with_suffix('.mp4'), (source.fps or FPS) / frame_stride)
    older = {path.name for path in out.glob('[0-9][0-9][0-9][0-9][0-9]*_*.png')}
    older -= {record['picture'] for record in records}
    note = f'; skipped: {skipped_names}' if skipped_names else ''
    print(f'{len(records)} pictures and predictions.json in {out}{note}')
    if older:
        print(f'{out} also has {len(older)} older pictures, which are not in predictions.json')


def _write_records(records: list[dict], out: Path) -> None:
    if records:
        text = json.dumps(records, indent=1, ensure_ascii=False)
        content = f'{text}\n'.encode(errors='backslashreplace')
        AtomicLocalBackend().put(content, out / 'predictions.json')


def join_pictures(files: list[Path], video: Path, fps: float) -> None:
    """Write pictures of one size as an MP4 video, if OpenCV can write one."""
    # Do not write through a symbolic link.
    video.unlink(missing_ok=True)
    # Codecs need even sides.
    height, width = (side // 2 * 2 for side in mmcv.imread(files[0]).shape[:2])
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        print(f'OpenCV cannot write {video}; only the pictures of its frames are written')
        return
    for file in files:
        writer.write(np.ascontiguousarray(mmcv.imread(file)[:height, :width]))
    writer.release()
