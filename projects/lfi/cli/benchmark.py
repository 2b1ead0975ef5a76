"""Time a student in PyTorch, compiled, and as ONNX on this machine, and check that all agree.

lfi benchmark CONFIG CHECKPOINT --formats pytorch,compile,onnx --batch-sizes 1 8

PyTorch is always among the formats, since the others are compared with it. A detector is timed with all that
comes after its heads, NMS and masks included.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

from lfi.errors import UsageError

from .arguments import ArgumentParser, add_checkpoint, add_config_arguments, add_graph_arguments, positive

FORMATS = ('pytorch', 'compile', 'onnx', 'onnx-fp16')


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    parser.add_argument(
        '--formats',
        type=formats,
        default='pytorch,compile,onnx',
        help=f'of {",".join(FORMATS)}, with commas (default: %(default)s)',
    )
    add_graph_arguments(parser)
    parser.add_argument(
        '--batch-sizes', nargs='+', type=positive, default=[1], help='numbers of images (default: 1)'
    )
    parser.add_argument('--threads', type=positive, help="of the CPU (default: torch's own choice)")
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='(default: %(default)s)')
    parser.add_argument(
        '--num-warmup', type=positive, default=3, help='runs before the clock starts (default: %(default)s)'
    )
    parser.add_argument(
        '--repeat-num', type=positive, default=20, help='runs that are timed (default: %(default)s)'
    )
    parser.add_argument('--json', type=Path, metavar='OUT', help='write every time to this file')


def formats(text: str) -> list[str]:
    """The formats of a list with commas, PyTorch first."""
    found = [name.strip() for name in text.split(',')]
    unknown = [name for name in found if name not in FORMATS]
    if unknown:
        raise ArgumentTypeError(f'unknown: {", ".join(unknown)}; choose from {",".join(FORMATS)}')
    return [name for name in FORMATS if name in {'pytorch', *found}]


def run(args: Namespace) -> None:
    """Print the table, and write the times where that is asked for."""
    import torch

    from lfi.engine.config_loading import load_config
    from lfi.engine.machine import machine
    from lfi.export.onnx_export import student_for_graphs
    from lfi.export.timing import TITLES, time_formats
    from lfi.utils.folders import make_folder
    from lfi.utils.markdown import table

    if args.json is not None:
        make_folder(args.json.parent, '--json')
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    student, shape = student_for_graphs(cfg, args.checkpoint, args.shape)
    timings = time_formats(
        student,
        shape,
        args.formats,
        part=args.part,
        batch_sizes=args.batch_sizes,
        folder=args.images,
        device=args.device,
        num_warmup=args.num_warmup,
        num_repeats=args.repeat_num,
    )
    print(f'{Path(args.config).stem}, {shape[0]} x {shape[1]} pixels, {machine()}.\n')
    print(table(TITLES, [timing.row() for timing in timings]))
    if args.json is not None:
        content = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            shape=shape,
            machine=machine(),
            timings=[asdict(timing) for timing in timings],
        )
        args.json.write_text(json.dumps(content, indent=2) + '\n')
    other = [f'{each.format}, batch {each.batch}: {each.agreement}' for each in timings if not each.agrees]
    if other:
        raise UsageError(f'not the same as in PyTorch: {"; ".join(other)}')
