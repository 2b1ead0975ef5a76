"""Export a trained student to other formats.

lfi export CONFIG CHECKPOINT student.pth
lfi export --to timm CONFIG CHECKPOINT timm/model.safetensors
lfi export --to onnx CONFIG CHECKPOINT student.onnx
lfi export --to onnx --help

student       weights for inference with OpenMMLab's names, and a slim config
timm          weights for timm, and config.json: timm.create_model('local-dir:FOLDER', pretrained=True)
onnx          ONNX graph, compared with PyTorch
torch-export  graph of torch.export, compared with PyTorch
tensorrt      engine from an ONNX file, or a list of operators that TensorRT cannot read
hub           folder for lfi.from_pretrained; --push uploads it to the Hugging Face Hub
published     checkpoint without training state, named by its hash

A graph takes normalised images (B, 3, H, W) of one size, for any B. It returns a classifier's logits; a
detector's boxes, scores, labels and masks, after NMS; or a segmentor's logits and labels. Build a TensorRT
engine on the machine that will run it; the engine has the precision of the ONNX file.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lfi.utils.next_commands import infer_command, option_words, print_next

from .arguments import ArgumentParser, add_checkpoint, add_config_arguments, add_graph_arguments, positive

WEIGHTS = ('.pth', '.safetensors')
OLDEST_OPSET = 18


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--to`, which decides the other arguments."""
    parser.add_variants(
        '--to',
        {name: adder for name, (adder, _) in TARGETS.items()},
        choices=list(TARGETS),
        default='student',
        help='format (default: %(default)s)',
    )


def add_student_arguments(parser: ArgumentParser) -> None:
    """Add the student and the output file of its weights."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    add_out(parser, WEIGHTS, 'weights; the config is written beside them')


def add_graph_export(parser: ArgumentParser, suffix: str) -> None:
    """Add the student and the output file of its graph."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    add_out(parser, (suffix,), 'graph')
    add_graph_arguments(parser)
    parser.add_argument('--batch', type=positive, help='fixed batch size (default: any)')
    parser.add_argument(
        '--box-masks',
        action='store_true',
        help='return the mask probabilities within each box, not pasted into the image',
    )


def add_onnx_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of an ONNX graph."""
    add_graph_export(parser, '.onnx')
    parser.add_argument(
        '--fp16', action='store_true', help='compute in float16; input, outputs and boxes stay float32'
    )
    parser.add_argument(
        '--opset',
        type=int,
        metavar='N',
        help=f"opset version of ONNX, at least {OLDEST_OPSET} (default: torch's own choice)",
    )
    parser.add_check(
        lambda args: (
            f'--opset {args.opset} must be at least {OLDEST_OPSET}'
            if args.opset is not None and args.opset < OLDEST_OPSET
            else None
        )
    )


def add_tensorrt_arguments(parser: ArgumentParser) -> None:
    """Add the ONNX file and the output file of its engine."""
    parser.add_argument('onnx', type=Path, help='.onnx file')
    parser.add_argument(
        'out', nargs='?', type=Path, help='engine to write (default: only check the operators)'
    )
    parser.add_argument(
        '--batch',
        nargs=3,
        type=positive,
        default=(1, 1, 1),
        metavar=('LEAST', 'BEST', 'MOST'),
        help='batch sizes, for a file that takes any (default: 1 1 1)',
    )
    parser.add_argument(
        '--workspace', type=float, default=4.0, metavar='GIB', help='workspace of the builder (default: 4)'
    )
    parser.add_check(
        lambda args: (
            f'--batch LEAST BEST MOST must not decrease, got {" ".join(map(str, args.batch))}'
            if list(args.batch) != sorted(args.batch)
            else None
        )
    )


def add_hub_arguments(parser: ArgumentParser) -> None:
    """Add the student, its output folder, and the options of the upload."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    parser.add_argument('out', metavar='FOLDER', help='folder to write: config, weights and a model card')
    parser.add_argument('--push', metavar='OWNER/NAME', help='upload the folder to this repository')
    parser.add_argument('--private', action='store_true', help='make a new repository private')
    parser.add_argument(
        '--no-readout',
        action='store_true',
        help='leave out the read-out, with which the student answers texts',
    )
    parser.add_argument(
        '--with-text-tower',
        action='store_true',
        help="store the teacher's text tower too: the student answers any text without its teacher (else "
        'the texts of its training)',
    )
    parser.add_check(
        lambda args: (
            '--with-text-tower is for the read-out, which --no-readout leaves out'
            if args.no_readout and args.with_text_tower
            else None
        )
    )
    parser.add_check(
        lambda args: (
            '--private needs a repository: name one by --push OWNER/NAME'
            if args.private and not args.push
            else None
        )
    )


def add_published_arguments(parser: ArgumentParser) -> None:
    """Add the checkpoint and its output file."""
    add_checkpoint(parser)
    add_out(
        parser,
        WEIGHTS,
        'x.pth is written as x-<first 8 digits of its sha256>.pth. A .safetensors file holds only weights, a '
        '.pth file also the meta data of the training',
    )
    parser.add_argument(
        '--no-ema', action='store_true', help="publish the trained weights, not EMAHook's averages"
    )


def add_out(parser: ArgumentParser, suffixes: tuple[str, ...], content: str) -> None:
    """Add ``OUT``, an output file with one of the suffixes."""
    formats = ' or '.join(suffixes)
    parser.add_argument('out', type=Path, help=f'{formats} file to write: {content}')
    parser.add_check(
        lambda args: None if args.out.suffix in suffixes else f'out takes a {formats} file, got {args.out}'
    )


def export_student(args: Namespace) -> None:
    """Write the slim student with the names of OpenMMLab or timm."""
    from lfi.engine.config_loading import load_config
    from lfi.export import student_files

    write = student_files.write_timm if args.to == 'timm' else student_files.write_student
    cfg = load_config(args.config, args.cfg_options)
    write(cfg, args.checkpoint, args.out, args.config)
    print_next(benchmark_command(args, 'pytorch,compile'))


def export_graph(args: Namespace) -> None:
    """Write the student as a graph of ONNX or torch.export, and compare it with PyTorch."""
    from lfi.engine.config_loading import load_config
    from lfi.export import onnx_export

    onnx = args.to == 'onnx'
    if onnx:
        onnx_export.require_onnx()
    student, shape = onnx_export.student_for_graphs(
        load_config(args.config, args.cfg_options), args.checkpoint, args.shape
    )
    export = onnx_export.GraphExport(student, shape, args.part, args.batch, args.box_masks, args.images)
    if onnx:
        export.write_onnx(args.out, args.fp16, args.opset)
        print_next(benchmark_command(args, 'onnx-fp16' if args.fp16 else 'onnx'))
    else:
        export.write_torch_export(args.out)
        print_next(benchmark_command(args, 'compile'))


def benchmark_command(args: Namespace, formats: str) -> list[str]:
    """Return the command that times the student in formats."""
    inputs = [args.config, args.checkpoint, '--formats', formats]
    return ['lfi', 'benchmark', *inputs, *option_words(args.cfg_options)]


def export_tensorrt(args: Namespace) -> None:
    """Print the operators of an ONNX file that TensorRT cannot read, and build its engine."""
    from lfi.export import write_engine

    write_engine(args.onnx, args.out, tuple(args.batch), args.workspace)


def export_to_hub(args: Namespace) -> None:
    """Write the student's folder, and upload it."""
    from lfi.engine.config_loading import load_config
    from lfi.hub.pushing import push_to_hub
    from lfi.hub.saving import save_pretrained
    from lfi.utils.repositories import TEXTS_FILE, TOWER_FOLDER, is_student
    from lfi.utils.stores import join, list_files

    # A saved student has its own config.
    cfg = None if is_student(args.checkpoint) else load_config(args.config, args.cfg_options)
    folder = save_pretrained(
        args.checkpoint,
        args.out,
        config=cfg,
        readout=not args.no_readout,
        text_tower=args.with_text_tower or None,
    )
    print(f'Wrote {folder}: lfi.load({str(folder)!r}) reads it.')
    if TEXTS_FILE in list_files(str(folder)) and not list_files(join(str(folder), TOWER_FOLDER)):
        print('Without its teacher it answers the texts of its training; with --with-text-tower, any text.')
    if args.push:
        commit = push_to_hub(folder, args.push, private=args.private or None)
        print(f'Uploaded: {commit.commit_url}')
    print_next(infer_command(str(folder), str(folder)))


def export_published(args: Namespace) -> None:
    """Write the checkpoint without its training state."""
    from lfi.export.published import publish

    path = publish(args.checkpoint, args.out, args.no_ema)
    print_next(['lfi', 'test', 'CONFIG', str(path)])


TARGETS: dict[str, tuple[Callable[[ArgumentParser], None], Callable[[Namespace], None]]] = {
    'student': (add_student_arguments, export_student),
    'timm': (add_student_arguments, export_student),
    'onnx': (add_onnx_arguments, export_graph),
    'torch-export': (partial(add_graph_export, suffix='.pt2'), export_graph),
    'tensorrt': (add_tensorrt_arguments, export_tensorrt),
    'hub': (add_hub_arguments, export_to_hub),
    'published': (add_published_arguments, export_published),
}
"""Function that adds the arguments of a target, and function that writes the target, by `--to`."""


def run(args: Namespace) -> None:
    """Write the format of `--to`."""
    _, write = TARGETS[args.to]
    write(args)
