"""What LFI adds to a training step of Mask R-CNN, and to its peak memory.

python benchmarks/detector.py
python benchmarks/detector.py --config configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py \
    --size 800 1333 --batch-size 2    # on a GPU
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import lfi  # noqa: F401
import torch
from cached_batch import write_cache
from lfi.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pairs import HEADER, machine, time_pairs

ROOT = Path(__file__).resolve().parents[1]
WAYS = ('control', 'cached', 'online')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time a training step of Mask R-CNN with LFI and without')
    parser.add_argument(
        '--config',
        default=str(ROOT / 'configs/detection/lfi_mask-rcnn_vit-tiny-p16_simple-fpn_1x_coco.py'),
        help='an LFI config of a Mask R-CNN; its teacher gets random weights (%(default)s)',
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(384, 512), help='height and width (%(default)s)'
    )
    parser.add_argument('--batch-size', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--objects', type=int, default=7, help='in an image; COCO has 7 (%(default)s)')
    parser.add_argument('--rounds', type=int, default=9, help='pairs to time (%(default)s)')
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on the CPU')
    # Peak memory is a process's own.
    parser.add_argument('--peak-of', choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument('--cache', help=argparse.SUPPRESS)
    return parser.parse_args()


def build(args: argparse.Namespace, way: str, device: torch.device) -> torch.nn.Module:
    cfg = Config.fromfile(args.config).model
    cfg.backbone.init_cfg = None
    cfg.data_preprocessor.batch_augments = None
    if way == 'control':
        for key in ('teacher', 'readout', 'interaction_loss', 'text_class_loss'):
            cfg.pop(key, None)
        cfg.type = 'MaskRCNN'
        cfg.backbone.num_queries = 0
    else:
        cfg.teacher.update(pretrained=None, allow_random=True)
        cfg.teacher_cache = args.cache if way == 'cached' else None
    torch.manual_seed(0)
    return MODELS.build(dict(cfg, _scope_='mmdet')).to(device).train()


def make_batch(args: argparse.Namespace) -> dict:
    """Noise with boxes of all sizes."""
    height, width = args.size
    generator = torch.Generator().manual_seed(0)
    samples = []
    for i in range(args.batch_size):
        sides = torch.rand(args.objects, 2, generator=generator) * 0.5 + 0.05
        corner = torch.rand(args.objects, 2, generator=generator) * (1 - sides)
        boxes = torch.cat((corner, corner + sides), 1) * torch.tensor([width, height] * 2)
        masks = torch.zeros(args.objects, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
            mask[y1:y2, x1:x2] = 1
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                img_path=f'batch/{i}.jpg',
                view=torch.eye(2, 3),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes,
            labels=torch.randint(0, 80, (args.objects,), generator=generator),
            masks=BitmapMasks(masks.numpy(), height, width),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    images = torch.randint(
        0, 256, (args.batch_size, 3, height, width), dtype=torch.uint8, generator=generator
    )
    return dict(inputs=list(images), data_samples=samples)


def make_step(args: argparse.Namespace, model: torch.nn.Module, device: torch.device):
    data = model.data_preprocessor(make_batch(args), training=True)
    dtype = torch.float16 if device.type == 'cuda' else torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=args.amp):
            losses = model(**data, mode='loss')
        model.parse_losses(losses)[0].backward()
        model.zero_grad(set_to_none=True)

    return step


def print_peak(args: argparse.Namespace, device: torch.device) -> None:
    """The most memory that model and three steps took, in MiB; on the CPU, beyond that of the libraries."""
    libraries = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = build(args, args.peak_of, device)
    step = make_step(args, model, device)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        step()
    if device.type == 'cuda':
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - libraries) / 2**10)


def peak(args: argparse.Namespace, way: str, cache: str) -> float:
    """`print_peak` in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], '--peak-of', way, '--cache', cache]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output.split()[-1])


def main() -> None:
    args = parse_args()
    init_default_scope('mmdet')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if args.peak_of:
        print_peak(args, device)
        return
    with tempfile.TemporaryDirectory() as folder:
        online = build(args, 'online', device)
        data = online.data_preprocessor(make_batch(args), training=True)
        with torch.no_grad():
            write_cache(folder, online, data)
        args.cache = folder
        cached, control = (build(args, way, device) for way in ('cached', 'control'))
        visual = online.teacher.to(device).visual
        teacher_images = torch.randn(args.batch_size, 3, *online.teacher.input_size, device=device)
        teacher_images = teacher_images.contiguous(memory_format=torch.channels_last)
        steps = [make_step(args, model, device) for model in (control, cached, online)]

        def control_and_teacher() -> None:
            steps[0]()
            with torch.no_grad(), torch.autocast(device.type, enabled=args.amp):
                visual(teacher_images)

        size = ' x '.join(map(str, args.size))
        print(f'{Path(args.config).name}, {size} px, batch {args.batch_size}, {machine()}\n')
        print(HEADER)
        pairs = {
            'LFI step, cached teacher / control': (steps[1], steps[0]),
            'LFI step / (control + teacher forward)': (steps[2], control_and_teacher),
        }
        for name, (ours, peer) in pairs.items():
            print(time_pairs(ours, peer, args.rounds).row(name), flush=True)
        ours, peer = (peak(args, way, folder) for way in ('cached', 'control'))
        print(f'\nPeak memory, cached teacher / control: {ours:.0f} / {peer:.0f} MiB = {ours / peer:.3f}')


if __name__ == '__main__':
    main()
