"""Cost of LFI in a training step of Mask R-CNN: time and peak memory.

python benchmarks/detector.py
python benchmarks/detector.py --config configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py \
    --size 800 1333 --batch-size 2    # on a GPU
python benchmarks/detector.py --config configs/detection/lfi_mask-rcnn_r50-fpn_1x_coco.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import lfi  # noqa: F401
import open_clip
import torch
from cached_batch import write_cache
from lfi.engine.machine import machine
from lfi.models.students.student import ADDED_ARGUMENTS
from lfi.registry import MODELS
from memory import peak_memory
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pairs import HEADER, add_rounds, time_pairs

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time a training step of Mask R-CNN with LFI and without')
    parser.add_argument(
        '--config',
        default=str(ROOT / 'configs/detection/lfi_mask-rcnn_vit-small-p16_simple-fpn_1x_coco.py'),
        help='an LFI config of a Mask R-CNN; its teacher gets random weights (%(default)s)',
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(384, 512), help='height and width (%(default)s)'
    )
    parser.add_argument('--batch-size', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--objects', type=int, default=7, help='per image; COCO has 7 (%(default)s)')
    add_rounds(parser, 9)
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on the CPU')
    return parser.parse_args()


def build(
    args: argparse.Namespace, mode: str, device: torch.device, cache: str | None = None
) -> torch.nn.Module:
    cfg = Config.fromfile(args.config).model
    # An adapter wraps any backbone other than our ViT.
    backbone = cfg.backbone.get('backbone', cfg.backbone)
    backbone.init_cfg = None
    cfg.data_preprocessor.batch_augments = None
    if mode == 'baseline':
        for key in ADDED_ARGUMENTS:
            cfg.pop(key, None)
        cfg.type = cfg.pop('task')
        cfg.backbone = backbone
    else:
        cfg.teacher.update(pretrained=None, allow_random=True, cache=cache)
    torch.manual_seed(0)
    return MODELS.build(dict(cfg, _scope_='mmdet')).to(device).train()


def image_tower(student: torch.nn.Module) -> torch.nn.Module:
    """Return the image tower of a student's teacher, for the teacher's input size."""
    name, teacher = student.require_teacher_cfg()['model'], student.teacher
    if name not in open_clip.list_models():
        return teacher.visual
    # open_clip's forward pass takes only one input size.
    return open_clip.create_model(name, force_image_size=teacher.input_size).visual.eval()


def make_batch(args: argparse.Namespace) -> dict:
    """Build a batch of noise images, with boxes of all sizes and their masks."""
    height, width = args.size
    num_classes = Config.fromfile(args.config).model.roi_head.bbox_head.num_classes
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
            labels=torch.randint(0, num_classes, (args.objects,), generator=generator),
            masks=BitmapMasks(masks.numpy(), height, width),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    images = torch.randint(
        0, 256, (args.batch_size, 3, height, width), dtype=torch.uint8, generator=generator
    )
    return dict(inputs=list(images), data_samples=samples)


def make_step(args: argparse.Namespace, model: torch.nn.Module, device: torch.device, stored: list):
    """Build a training step on a batch with cached interaction maps."""
    data = model.data_preprocessor(make_batch(args), training=True)
    for sample, maps in zip(data['data_samples'], stored):
        sample.set_field(maps, 'interaction_maps')
    dtype = torch.float16 if device.type == 'cuda' else torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=args.amp):
            losses = model(**data, mode='loss')
        model.parse_losses(losses)[0].backward()
        model.zero_grad(set_to_none=True)

    return step


def main() -> None:
    args = parse_args()
    init_default_scope('mmdet')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        online = build(args, 'online', device)
        data = online.data_preprocessor(make_batch(args), training=True)
        with torch.no_grad():
            write_cache(folder, online, data)
        cached, baseline = build(args, 'cached', device, folder), build(args, 'baseline', device)
        input_size = online.teacher.input_size
        visual = image_tower(online).to(device, memory_format=torch.channels_last)
        teacher_images = torch.randn(args.batch_size, 3, *input_size, device=device)
        teacher_images = teacher_images.contiguous(memory_format=torch.channels_last)
        stored = [sample.interaction_maps for sample in data['data_samples']]
        steps = [make_step(args, model, device, stored) for model in (baseline, cached, online)]

        def baseline_and_teacher() -> None:
            steps[0]()
            with torch.no_grad(), torch.autocast(device.type, enabled=args.amp):
                visual(teacher_images)

        size = ' x '.join(map(str, args.size))
        print(f'{Path(args.config).name}, {size} px, batch {args.batch_size}, {machine()}\n')
        print(HEADER)
        pairs = {
            'LFI step, cached teacher / baseline': (steps[1], steps[0]),
            'LFI step / (baseline + teacher forward)': (steps[2], baseline_and_teacher),
        }
        for name, (ours, peer) in pairs.items():
            print(time_pairs(ours, peer, args.rounds).row(name, args.batch_size), flush=True)
        ours, peer = (
            peak_memory(model, step, device) for model, step in ((cached, steps[1]), (baseline, steps[0]))
        )
        print(f'\nPeak memory, cached teacher / baseline: {ours:.0f} / {peer:.0f} MiB = {ours / peer:.3f}')


if __name__ == '__main__':
    main()
