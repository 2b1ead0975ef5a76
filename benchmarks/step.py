"""Time of a training step of LFI, the teacher online or cached, against the task loss and baselines.

    python benchmarks/step.py                    # ViT-B/16 and CLIP ViT-B/16, random weights
    python benchmarks/step.py --teacher FOLDER --extractor dense --teacher-size 160 \
        --arch deit-tiny --img-size 64 --patch-size 8 --batch-size 64
    python benchmarks/step.py --arch vit-128x6 --img-size 64 --patch-size 8    # student of the studies
    python benchmarks/step.py --arch resnet50    # another backbone, in an adapter

`python -m research speed` runs this file with --csv for students of several sizes, and draws the ratios.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import lfi  # noqa: F401
import torch
from cached_batch import write_cache
from lfi.engine.machine import machine
from lfi.models import InteractionQueryViT
from lfi.registry import MODELS
from memory import peak_memory
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from pairs import HEADER, PairedTimes, add_rounds, time_pairs

STUDY_ARCH = dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256)
"""ViT of the studies on photos, without stem and prior, like the plain ViT."""
SUPERVISION = {
    'LFI': dict(interactions=dict(type='lfi.Interactions')),
    'logit KD': dict(logit_kd=dict(type='lfi.LogitKD')),
    'dense features': dict(dense_features=dict(type='lfi.DenseFeatures')),
}
"""Supervision parts by name."""
COLUMNS = (
    *('arch', 'image_size', 'patch_size', 'parameters', 'concepts', 'batch_size', 'teacher', 'step'),
    *('ours_ms', 'peer_ms', 'ratio', 'low', 'high', 'machine'),
)
"""Columns of the CSV file. `low` and `high` are the quartiles of the ratio."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time a training step of LFI')
    parser.add_argument(
        '--arch', default='base', help="student: arch of a ViT, 'vit-128x6' or 'resnet50' (%(default)s)"
    )
    parser.add_argument('--img-size', type=int, default=224, help='(%(default)s)')
    parser.add_argument('--patch-size', type=int, default=16, help='(%(default)s)')
    parser.add_argument(
        '--teacher',
        default='ViT-B-16',
        help="open_clip model with random weights, or a teacher's folder (%(default)s)",
    )
    parser.add_argument('--teacher-size', type=int, help="pixels; default: the teacher's own")
    parser.add_argument('--extractor', default='clearclip', help='(%(default)s)')
    parser.add_argument('--num-classes', type=int, default=200, help='concepts of the bank (%(default)s)')
    parser.add_argument('--max-concepts', type=int, default=16, help='(%(default)s)')
    parser.add_argument('--batch-size', type=int, default=8, help='(%(default)s)')
    parser.add_argument(
        '--last-blocks',
        type=int,
        metavar='N',
        help='supervise the last N blocks of a ViT alone, with queries that start anew in each',
    )
    add_rounds(parser, 9)
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument(
        '--csv',
        type=Path,
        metavar='FILE',
        help='time LFI against the plain student alone, and write the ratios to this file; rows of other '
        'students stay',
    )
    args = parser.parse_args()
    if args.last_blocks is not None and args.arch == 'resnet50':
        parser.error('--last-blocks is for a ViT, and --arch resnet50 has none')
    return args


def student_config(args: argparse.Namespace, asked: bool) -> dict:
    """Config of backbone, neck and head. An `asked` backbone takes asked queries; otherwise it is plain."""
    if args.arch == 'resnet50':
        plain = dict(type='ResNet', depth=50)
        adapted = dict(type='lfi.InteractionQueryAdapter', backbone=plain, reads=('layer3', 'layer4'))
        return dict(
            backbone=adapted if asked else plain,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=args.num_classes, in_channels=2048),
        )
    arch = STUDY_ARCH if args.arch == 'vit-128x6' else InteractionQueryViT.arch_zoo[args.arch]
    kind = 'lfi.InteractionQueryViT' if asked else 'VisionTransformer'
    queries = {}
    if asked and args.last_blocks:
        queries = dict(persistent=False, interaction_layers=list(range(-args.last_blocks, 0)))
    return dict(
        backbone=dict(type=kind, arch=arch, img_size=args.img_size, patch_size=args.patch_size, **queries),
        head=dict(
            type='VisionTransformerClsHead', num_classes=args.num_classes, in_channels=arch['embed_dims']
        ),
    )


def build(
    args: argparse.Namespace, supervision: str | None, asked: bool = True, cache: str | None = None
) -> torch.nn.Module:
    """Build a classifier with one of `SUPERVISION`; None leaves only the task loss."""
    cfg = dict(
        type='mmpretrain.ImageClassifier',
        **student_config(args, asked),
        data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True),
    )
    if supervision is not None:
        cfg |= dict(
            type='lfi.Student',
            task='mmpretrain.ImageClassifier',
            teacher=dict(
                type='lfi.VLMAttentionTeacher',
                model=args.teacher,
                extractor=dict(type=args.extractor),
                concepts=[f'thing {i}' for i in range(args.num_classes)],
                max_concepts=args.max_concepts if supervision == 'LFI' else None,
                input_size=args.teacher_size,
                allow_random=True,
                cache=cache,
            ),
            supervision=SUPERVISION[supervision],
        )
    return MODELS.build(cfg).train()


def write_ratios(args: argparse.Namespace, parameters: int, times: Mapping[str, PairedTimes]) -> None:
    """Write the rows of this student to the CSV file, in place of those that it had.

    Args:
        args: arguments of the command line.
        parameters: number of parameters of the plain backbone.
        times: times of LFI and of the plain student, by how the teacher answers.
    """
    student = dict(arch=args.arch, image_size=args.img_size, patch_size=args.patch_size)
    rows = []
    if args.csv.exists():
        with args.csv.open(newline='') as file:
            rows = [
                row
                for row in csv.DictReader(file)
                if any(row[name] != str(student[name]) for name in student)
            ]
    concepts = min(args.max_concepts, args.num_classes)
    for step, timed in times.items():
        (ours, peer), (low, high) = timed.medians, timed.quartiles
        row = student | dict(
            parameters=parameters,
            concepts=concepts,
            batch_size=args.batch_size,
            teacher=Path(args.teacher).name,
            step=step,
            ours_ms=f'{ours:.1f}',
            peer_ms=f'{peer:.1f}',
            ratio=f'{timed.ratio:.3f}',
            low=f'{low:.3f}',
            high=f'{high:.3f}',
            machine=machine(),
        )
        rows.append(row)
    args.csv.parent.mkdir(parents=True, exist_ok=True)
    with args.csv.open('w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    args = parse_args()
    init_default_scope('mmpretrain')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.manual_seed(0)
    student = build(args, 'LFI').to(device)
    plain_student = build(args, None, asked=False).to(device)
    shape = (args.img_size, args.img_size)
    samples = [
        DataSample(metainfo=dict(img_shape=shape, img_path=f'batch/{i}.jpg')).set_gt_label(
            i % args.num_classes
        )
        for i in range(args.batch_size)
    ]
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view')
    raw = dict(
        inputs=torch.randint(0, 256, (args.batch_size, 3, *shape), dtype=torch.uint8), data_samples=samples
    )
    data = student.data_preprocessor(raw, training=True)
    folder = tempfile.TemporaryDirectory()
    write_cache(folder.name, student, data)
    cached = build(args, 'LFI', cache=folder.name).to(device)
    visual = student.teacher.to(device).visual
    teacher_images = torch.randn(args.batch_size, 3, *student.teacher.input_size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.amp)

    def step(model):
        with autocast:
            losses = model(**data, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def teacher_forward():
        with autocast:
            visual(teacher_images)

    def with_teacher(model):
        step(model)
        teacher_forward()

    print(
        f'{args.arch} at {args.img_size} px, {args.teacher} at {student.teacher.input_size} '
        f'px by {args.extractor}, batch {args.batch_size}, {args.num_classes} concepts, {machine()}\n'
    )
    count, plain_count = (sum(p.numel() for p in m.backbone.parameters()) for m in (student, plain_student))
    print(f'parameters of the backbone: {plain_count:,} + {count - plain_count:,} (queries)\n')
    print(HEADER)
    task_only, task_only_plain = 'same student, task loss alone', 'plain student, task loss alone'

    def timed(name: str, model: torch.nn.Module, peer: Callable[[], object]) -> PairedTimes:
        times = time_pairs(lambda: step(model), peer, args.rounds)
        print(times.row(name, args.batch_size), flush=True)
        return times

    if args.csv:
        kinds = {'cached': ('LFI step, cached teacher', cached), 'online': ('LFI step', student)}
        times = {
            kind: timed(f'{name} / ({task_only_plain})', model, lambda: step(plain_student))
            for kind, (name, model) in kinds.items()
        }
        write_ratios(args, plain_count, times)
        return
    same_student = build(args, None).to(device)
    logits, features = (build(args, name).to(device) for name in ('logit KD', 'dense features'))
    pairs = {
        f'LFI step / ({task_only} + teacher forward)': (student, lambda: with_teacher(same_student)),
        f'LFI step / ({task_only_plain} + teacher forward)': (student, lambda: with_teacher(plain_student)),
        f'LFI step / ({task_only_plain})': (student, lambda: step(plain_student)),
        'LFI step / (same student, logit KD)': (student, lambda: step(logits)),
        'LFI step / (same student, dense features)': (student, lambda: step(features)),
        f'LFI step, cached teacher / ({task_only})': (cached, lambda: step(same_student)),
        f'LFI step, cached teacher / ({task_only_plain})': (cached, lambda: step(plain_student)),
    }
    for name, (model, peer) in pairs.items():
        timed(name, model, peer)
    print('\n| a step of | peak memory, MiB |\n| --- | --- |')
    for name, model in {
        task_only_plain: plain_student,
        task_only: same_student,
        'LFI, cached teacher': cached,
        'LFI': student,
        'logit KD': logits,
        'dense features': features,
    }.items():
        print(f'| {name} | {peak_memory(model, lambda model=model: step(model), device):,.0f} |', flush=True)


if __name__ == '__main__':
    main()
