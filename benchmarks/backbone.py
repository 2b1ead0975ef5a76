"""Cost of a student's answers: InteractionQueryViT against mmpretrain's VisionTransformer in one process.

python benchmarks/backbone.py
python benchmarks/backbone.py --batch-size 64 --amp      # on a GPU
"""

from __future__ import annotations

import argparse
from functools import partial

import lfi  # noqa: F401
import torch
from lfi.engine.machine import machine
from lfi.models import InteractionQueryViT, InteractionReadout
from mmpretrain.models.backbones import VisionTransformer
from pairs import HEADER, add_rounds, time_pairs
from torch import Tensor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time the student against the plain ViT')
    parser.add_argument('--arch', default='base', help='(%(default)s)')
    parser.add_argument('--img-size', type=int, default=224, help='(%(default)s)')
    parser.add_argument('--concepts', type=int, default=8, help='asked about each image (%(default)s)')
    parser.add_argument('--num-queries', type=int, default=0, help='learned queries (%(default)s)')
    parser.add_argument('--write-back', default='gated', help='write-back of learned queries (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=8, help='(%(default)s)')
    add_rounds(parser, 15)
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    plain_vit = VisionTransformer(args.arch, img_size=args.img_size).to(device)
    query_vit = InteractionQueryViT(
        args.arch, img_size=args.img_size, num_queries=args.num_queries, write_back=args.write_back
    ).to(device)
    images = torch.randn(args.batch_size, 3, args.img_size, args.img_size, device=device)
    autocast = torch.autocast(device, torch.bfloat16, enabled=args.amp)

    readout = InteractionReadout(query_vit.embed_dims, 512).to(device)
    texts = torch.nn.functional.normalize(torch.randn(args.concepts, 512, device=device), dim=-1)

    def plain() -> tuple[Tensor, ...]:
        return (plain_vit(images)[-1],)

    def unasked() -> tuple[Tensor, ...]:
        return (query_vit(images)[-1],)

    def asked() -> tuple[Tensor, ...]:
        with query_vit.record_interactions(readout.asked_queries(texts)) as record:
            features = query_vit(images)[-1]
        return (features, record.states.asked_queries, *record.states.attention)

    @torch.no_grad()
    def forward(student):
        with autocast:
            return student()

    def forward_backward(student):
        with autocast:
            loss = sum(output.square().mean() for output in student())
        loss.backward()
        for module in (query_vit, plain_vit, readout):
            module.zero_grad(set_to_none=True)

    count = {model: sum(p.numel() for p in model.parameters()) for model in (query_vit, plain_vit)}
    added = count[query_vit] - count[plain_vit]
    heads = sum(p.numel() for p in readout.parameters())
    print(
        f'{args.arch} at {args.img_size} px, batch {args.batch_size}, {args.concepts} concepts, '
        f'{args.num_queries} learned queries, {machine()}'
    )
    print(
        f'parameters: {count[plain_vit]:,} + {added:,} (queries) + {heads:,} (read-out) = '
        f'+{(added + heads) / count[plain_vit]:.2%}\n'
    )
    print(HEADER)
    for name, step, student in (
        ('forward, not asked', forward, unasked),
        ('forward, asked', forward, asked),
        ('forward + backward, asked', forward_backward, asked),
    ):
        timed = time_pairs(partial(step, student), partial(step, plain), args.rounds)
        print(timed.row(name, args.batch_size), flush=True)


if __name__ == '__main__':
    main()
