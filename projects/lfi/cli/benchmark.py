"""Time a student in PyTorch, compiled, and as ONNX on this machine, and check that all agree.

lfi benchmark CONFIG CHECKPOINT --formats pytorch,compile,onnx --batch-sizes 1 8

PyTorch is always timed, since other formats are compared with it. A detector's times include NMS and masks.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.next_commands import export_commands, print_next

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
        help=f'formats out of {",".join(FORMATS)}, separated by commas (default: %(default)s)',
    )
    add_graph_arguments(parser)
    parser.add_argument(
        '--batch-sizes', nargs='+', type=positive, default=[1], help='images in a batch (default: 1)'
    )
    parser.add_argument('--threads', type=positive, help="CPU threads (default: torch's own choice)")
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='(default: %(default)s)')
    parser.add_argument('--num-warmup', type=positive, default=3, help='warm-up runs (default: %(default)s)')
    parser.add_argument('--repeat-num', type=positive, default=20, help='timed runs (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the time of each run to a file')


def formats(text: str) -> list[str]:
    """Parse a list of formats, separated by commas, and put PyTorch first."""
    names = [name.strip() for name in text.split(',')]
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise ArgumentTypeError(f'unknown: {", ".join(unknown)}; choose from {",".join(FORMATS)}')
    return [name for name in FORMATS if name in {'pytorch', *names}]


def run(args: Namespace) -> None:
    """Print a table of times, and write them to `--json`."""
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
    failed = [timing for timing in timings if not timing.agrees]
    if failed:
        reasons = '; '.join(f'{timing.format}, batch {timing.batch}: {timing.agreement}' for timing in failed)
        raise UsageError(f'outputs differ from PyTorch: {reasons}')
    print_next(*export_commands(args.config, args.checkpoint, args.cfg_options))
