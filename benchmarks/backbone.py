"""What interaction queries cost: InteractionQueryViT against mmpretrain's VisionTransformer in one process.

python benchmarks/backbone.py
python benchmarks/backbone.py --batch-size 64 --amp      # on a GPU
"""

from __future__ import annotations

import argparse

import lfi  # noqa: F401
import torch
from lfi.engine.machine import machine
from lfi.models import InteractionQueryViT, InteractionReadout
from mmpretrain.models.backbones import VisionTransformer
from pairs import HEADER, time_pairs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time the student against the plain ViT')
    parser.add_argument('--arch', default='base', help='(%(default)s)')
    parser.add_argument('--img-size', type=int, default=224, help='(%(default)s)')
    parser.add_argument('--num-queries', type=int, default=8, help='(%(default)s)')
    parser.add_argument('--write-back', default='gated', help='(%(default)s)')
    parser.add_argument('--batch-size', type=int, default=8, help='(%(default)s)')
    parser.add_argument('--rounds', type=int, default=15, help='pairs to time (%(default)s)')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    peer = VisionTransformer(args.arch, img_size=args.img_size).to(device)
    ours = InteractionQueryViT(
        args.arch, img_size=args.img_size, num_queries=args.num_queries, write_back=args.write_back
    ).to(device)
    images = torch.randn(args.batch_size, 3, args.img_size, args.img_size, device=device)
    autocast = torch.autocast(device, torch.bfloat16, enabled=args.amp)

    @torch.no_grad()
    def forward(model):
        with autocast:
            return model(images)[-1]

    def forward_backward(model):
        with autocast:
            loss = model(images)[-1].square().mean()
        loss.backward()
        model.zero_grad(set_to_none=True)

    count = {model: sum(p.numel() for p in model.parameters()) for model in (ours, peer)}
    readout = InteractionReadout(ours.embed_dims, 512)
    added = count[ours] - count[peer]
    heads = sum(p.numel() for p in readout.parameters())
    print(
        f'{args.arch} at {args.img_size} px, batch {args.batch_size}, {args.num_queries} queries, {machine()}'
    )
    print(
        f'parameters: {count[peer]:,} + {added:,} (queries) + {heads:,} (read-out, training only) = '
        f'+{(added + heads) / count[peer]:.2%}\n'
    )
    print(HEADER)
    for name, step in (('forward', forward), ('forward + backward', forward_backward)):
        timed = time_pairs(lambda step=step: step(ours), lambda step=step: step(peer), args.rounds)
        print(timed.row(name), flush=True)


if __name__ == '__main__':
    main()
