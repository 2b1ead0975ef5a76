"""What more concepts cost: each forward-only extractor with 80 concepts against the same with 1.

python benchmarks/extractors.py
"""

from __future__ import annotations

import argparse

import lfi  # noqa: F401
import torch
from lfi.engine.machine import machine
from lfi.models.teachers import PixelFormat, VLMAttentionTeacher
from pairs import HEADER, time_pairs

# Each extractor, and an open_clip model that it reads; random weights cost the same.
READERS = {
    **dict.fromkeys(('maskclip', 'clearclip', 'naclip', 'gem'), 'ViT-B-16'),
    'dense': 'shapes-tiny',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time each extractor with many concepts and with one')
    parser.add_argument('--batch-size', type=int, default=4, help='(%(default)s)')
    parser.add_argument('--rounds', type=int, default=9, help='pairs to time (%(default)s)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    images = torch.rand(args.batch_size, 3, 224, 224, device=device)
    pixels = PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=True)
    print(f'80 concepts (ours) and 1 (peer), batch {args.batch_size}, {machine()}\n\n{HEADER}')
    for extractor, model in READERS.items():
        many, one = (
            VLMAttentionTeacher(
                model,
                extractor=dict(type=extractor),
                concepts=[f'thing {i}' for i in range(count)],
                input_size=224,
                allow_random=True,
            )
            for count in (80, 1)
        )
        timed = time_pairs(
            lambda many=many: many(images, pixels), lambda one=one: one(images, pixels), args.rounds
        )
        print(timed.row(f'{extractor}, {model}'), flush=True)


if __name__ == '__main__':
    main()
