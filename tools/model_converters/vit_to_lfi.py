"""Convert a ViT checkpoint of timm, MAE, CLIP or ViTDet to our names, or back.

python tools/model_converters/vit_to_lfi.py SRC DST
"""

from __future__ import annotations

from argparse import Namespace

from lfi.arguments import ArgumentParser
from lfi.tools import run_tool
from lfi.vit_names import FORMATS


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('src', help='checkpoint: a .safetensors file, or one of torch.save; a path or URL')
    parser.add_argument(
        'dst', help='file to write, .safetensors or .pth; use it as init_cfg=dict(type="Pretrained", ...)'
    )
    parser.add_argument(
        '--to', choices=['lfi', *FORMATS], default='lfi', help='names of the file to write (default: lfi)'
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(parse_args, 'vit_to_lfi')
