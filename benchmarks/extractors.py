"""Cost of many concepts: each forward-only extractor with 80 concepts against 1 concept.

python benchmarks/extractors.py
"""

from __future__ import annotations

import argparse
from functools import partial

import lfi  # noqa: F401
import open_clip
import torch
import torch.nn.functional as F
from lfi.engine.machine import machine
from lfi.models.teachers.batch_norms import fold_batch_norms
from lfi.registry import EXTRACTORS
from open_clip.model import _build_vision_tower
from pairs import HEADER, add_rounds, time_pairs
from timm.layers import to_2tuple

ON_TRANSFORMERS = ('dense', 'maskclip', 'clearclip', 'naclip', 'gem')
# Small open_clip model of each family of image towers, and its extractors.
READERS = {
    **dict.fromkeys(
        (
            'ViT-B-16',
            'ViT-L-14-CLIPA',
            'ViT-B-16-SigLIP',
            'PE-Core-T-16-384',
            'EVA02-B-16',
            'MobileCLIP-B',
            'ViTamin-S',
        ),
        ON_TRANSFORMERS,
    ),
    'RN50': ('dense', 'maskclip'),
    'MobileCLIP-S1': ('dense',),
    'convnext_base': ('dense',),
}
# First blocks of the large ViT: the cost of further blocks does not depend on the concepts.
CUT = {'ViT-L-14-CLIPA': dict(layers=6)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time each extractor with many concepts and with one')
    parser.add_argument('--batch-size', type=int, default=4, help='(%(default)s)')
    add_rounds(parser, 9)
    parser.add_argument('--models', nargs='+', default=list(READERS), choices=READERS, help='(all)')
    return parser.parse_args()


def image_tower(model: str, device: str) -> tuple[torch.nn.Module, int]:
    """Build a model's image tower with random weights; return it and the embedding width."""
    config = open_clip.get_model_config(model)
    tower_config = dict(config['vision_cfg'], timm_model_pretrained=False, **CUT.get(model, {}))
    visual = _build_vision_tower(config['embed_dim'], tower_config, config.get('quick_gelu', False))
    visual = visual.eval().requires_grad_(False)
    fold_batch_norms(visual)
    return visual.to(device, memory_format=torch.channels_last), config['embed_dim']


@torch.no_grad()
def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    print(f'80 concepts (ours) and 1 (peer), batch {args.batch_size}, {machine()}\n\n{HEADER}')
    for model in args.models:
        visual, width = image_tower(model, device)
        texts = F.normalize(torch.randn(80, width, device=device), dim=-1)
        images = torch.rand(args.batch_size, 3, *to_2tuple(visual.image_size), device=device)
        for name in READERS[model]:
            extractor = EXTRACTORS.get(name)(visual)
            many_concepts, one_concept = (partial(extractor, images, asked) for asked in (texts, texts[:1]))
            timed = time_pairs(many_concepts, one_concept, args.rounds)
            print(timed.row(f'{name}, {model}', args.batch_size), flush=True)


if __name__ == '__main__':
    main()
