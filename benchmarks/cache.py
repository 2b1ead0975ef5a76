"""Speed of caching maps: the loop of lfi cache against the forward pass of the teacher alone.

python benchmarks/cache.py                    # CLIP ViT-B/16, random weights, ClearCLIP
python benchmarks/cache.py --teacher FOLDER --extractor dense --teacher-size 160 --img-size 64 --batch-size 64
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import lfi  # noqa: F401
import numpy as np
import torch
from lfi.engine.machine import machine
from lfi.models import VLMAttentionTeacher
from lfi.structures import PixelFormat, pack
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, image_keys, make_records, shard_name
from pairs import HEADER, add_rounds, time_pairs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time the caching of maps against the forward pass of the teacher alone'
    )
    parser.add_argument('--teacher', default='ViT-B-16', help='open_clip name or folder (%(default)s)')
    parser.add_argument('--extractor', default='clearclip', help='(%(default)s)')
    parser.add_argument('--teacher-size', type=int, help="input size; default: the teacher's own")
    parser.add_argument('--img-size', type=int, default=224, help='size of the images (%(default)s)')
    parser.add_argument('--num-concepts', type=int, default=200, help='concepts of the bank (%(default)s)')
    parser.add_argument('--max-concepts', type=int, default=8, help='concepts of an image (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=8, help='(%(default)s)')
    add_rounds(parser, 11)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    teacher = VLMAttentionTeacher(
        args.teacher,
        extractor=dict(type=args.extractor),
        concepts=[f'thing {i}' for i in range(args.num_concepts)],
        max_concepts=args.max_concepts,
        input_size=args.teacher_size,
        allow_random=True,
    ).to(device)
    shape = (args.batch_size, 3, args.img_size, args.img_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    labels = torch.eye(args.num_concepts)[torch.arange(args.batch_size) % args.num_concepts].to(device)
    sizes = [(args.img_size, args.img_size)] * args.batch_size
    pixels = PixelFormat.raw()
    prepared = torch.randn(args.batch_size, 3, *teacher.input_size, device=device)
    prepared = prepared.contiguous(memory_format=torch.channels_last)

    def ask():
        return teacher(images.to(device).float(), pixels, labels, sizes)

    @torch.no_grad()
    def forward():
        teacher.visual(prepared)
        if device.type == 'cuda':
            torch.cuda.synchronize()

    maps, texts = ask(), teacher.text_embeddings.cpu().numpy()
    keys = image_keys([f'batch/{i}' for i in range(args.batch_size)], 2)
    with tempfile.TemporaryDirectory() as folder:
        writer = CacheWriter(Path(folder), CacheManifest.of({}, len(keys), 2, texts, maps), texts)
        unknown = np.zeros((len(keys), 1), np.uint32)
        print(
            f'{args.teacher} at {teacher.input_size} px by {args.extractor}, images of {args.img_size} px, '
            f'{args.max_concepts} of {args.num_concepts} concepts, batch {args.batch_size}, {machine()}\n'
        )
        print(HEADER)
        timed = time_pairs(
            lambda: writer.write(shard_name(0), keys, make_records(pack(ask())[:, None], unknown)),
            forward,
            args.rounds,
        )
    name = 'teacher asked about a batch, maps written / teacher forward alone'
    print(timed.row(name, args.batch_size))
    print(f'\nRate: {1 / timed.ratio:.1%} of the forward pass alone')


if __name__ == '__main__':
    main()
