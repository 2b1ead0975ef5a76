"""Write a trained student as other programs read it.

lfi export CONFIG CHECKPOINT student.pth
lfi export --to timm CONFIG CHECKPOINT timm/model.safetensors
lfi export --to onnx CONFIG CHECKPOINT student.onnx
lfi export --to onnx --help

student       what inference needs: weights by OpenMMLab's names, and a slim config beside them
timm          weights by timm's names, and config.json: timm.create_model('local-dir:FOLDER', pretrained=True)
onnx          an ONNX graph, compared with PyTorch
torch-export  a graph of torch.export, compared with PyTorch
tensorrt      an engine from an ONNX file, or what TensorRT could not read in the file
hub           a folder that lfi.from_pretrained reads, uploaded to the Hugging Face Hub by --push
published     a checkpoint without its training state, named by its content

A graph takes normalised images (B, 3, H, W) of one size, for any B. It gives what the student predicts: a
classifier's logits; a detector's boxes, scores, labels and masks, after NMS; a segmentor's logits and labels.
Build a TensorRT engine on the machine that is to run it. Its precision is that of the ONNX file.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .arguments import ArgumentParser, add_checkpoint, add_config_arguments, add_graph_arguments, positive

WEIGHTS = ('.pth', '.safetensors')
OLDEST_OPSET = 18


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments; `--to` decides which."""
    parser.add_variants(
        '--to',
        {name: adder for name, (adder, _) in TARGETS.items()},
        choices=list(TARGETS),
        default='student',
        help='what is written (default: %(default)s)',
    )


def add_student_arguments(parser: ArgumentParser) -> None:
    """Add a student, and the file for its weights."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    add_out(parser, WEIGHTS, 'weights; the config lies beside them')


def add_graph_export(parser: ArgumentParser, suffix: str) -> None:
    """Add a student, and the file for its graph."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    add_out(parser, (suffix,), 'graph')
    add_graph_arguments(parser)
    parser.add_argument('--batch', type=positive, help='a fixed number of images (default: any)')
    parser.add_argument(
        '--box-masks',
        action='store_true',
        help="a detector's masks are those of its boxes, probabilities, and not those of the image",
    )


def add_onnx_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of an ONNX graph."""
    add_graph_export(parser, '.onnx')
    parser.add_argument(
        '--fp16', action='store_true', help='compute in float16, with float32 input, outputs and boxes'
    )
    parser.add_argument(
        '--opset',
        type=int,
        metavar='N',
        help=f"version of ONNX's operators, from {OLDEST_OPSET} on (default: torch's own choice)",
    )
    parser.add_check(
        lambda args: (
            f'--opset {args.opset}: {OLDEST_OPSET} and later can be written'
            if args.opset is not None and args.opset < OLDEST_OPSET
            else None
        )
    )


def add_tensorrt_arguments(parser: ArgumentParser) -> None:
    """Add an ONNX file, and the file for its engine."""
    parser.add_argument('onnx', type=Path, help='.onnx file')
    parser.add_argument(
        'out', nargs='?', type=Path, help='engine to write (default: the operators are checked, no more)'
    )
    parser.add_argument(
        '--batch',
        nargs=3,
        type=positive,
        default=(1, 1, 1),
        metavar=('LEAST', 'BEST', 'MOST'),
        help='numbers of images, of a file that takes any (default: 1 1 1)',
    )
    parser.add_argument(
        '--workspace', type=float, default=4.0, metavar='GIB', help='memory that may be tried (default: 4)'
    )
    parser.add_check(
        lambda args: (
            f'--batch: LEAST BEST MOST must rise, got {" ".join(map(str, args.batch))}'
            if list(args.batch) != sorted(args.batch)
            else None
        )
    )


def add_hub_arguments(parser: ArgumentParser) -> None:
    """Add a student, its folder, and whether the folder is uploaded."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    parser.add_argument('out', metavar='FOLDER', help='folder to write: config, weights and a model card')
    parser.add_argument('--push', metavar='OWNER/NAME', help='upload the folder to this repository')
    parser.add_argument('--private', action='store_true', help='a new repository is private')
    parser.add_argument(
        '--no-readout',
        action='store_true',
        help='leave out the read-out, by which a student that learnt from interactions answers texts',
    )
    parser.add_check(
        lambda args: (
            '--private is of a repository: name one by --push OWNER/NAME'
            if args.private and not args.push
            else None
        )
    )


def add_published_arguments(parser: ArgumentParser) -> None:
    """Add a checkpoint, and the file that it is published as."""
    add_checkpoint(parser)
    add_out(
        parser,
        WEIGHTS,
        'x.pth is written as x-<first 8 digits of its sha256>.pth. safetensors holds the weights alone, .pth '
        'the meta data of the training too',
    )
    parser.add_argument(
        '--no-ema',
        action='store_true',
        help="publish the trained weights, not EMAHook's averages",
    )


def add_out(parser: ArgumentParser, suffixes: tuple[str, ...], what: str) -> None:
    """Add ``OUT``, a file with one of some suffixes."""
    kinds = ' or '.join(suffixes)
    parser.add_argument('out', type=Path, help=f'{kinds} file to write: {what}')
    parser.add_check(
        lambda args: None if args.out.suffix in suffixes else f'out takes a {kinds} file, got {args.out}'
    )


def export_student(args: Namespace) -> None:
    """Write the slim student by OpenMMLab's names, or timm's."""
    from lfi.engine.config_loading import load_config
    from lfi.export import student_files

    write = student_files.write_timm if args.to == 'timm' else student_files.write_student
    cfg = load_config(args.config, args.cfg_options)
    write(cfg, args.checkpoint, args.out, args.config)


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
    else:
        export.write_torch_export(args.out)


def export_tensorrt(args: Namespace) -> None:
    """Say what TensorRT could not read in an ONNX file, and build its engine."""
    from lfi.export import write_engine

    write_engine(args.onnx, args.out, tuple(args.batch), args.workspace)


def export_to_hub(args: Namespace) -> None:
    """Write the student's folder, and upload it."""
    from lfi.engine.config_loading import load_config
    from lfi.hub.pushing import push_to_hub
    from lfi.hub.saving import save_pretrained

    cfg = load_config(args.config, args.cfg_options)
    folder = save_pretrained(args.checkpoint, args.out, config=cfg, readout=not args.no_readout)
    print(f'Wrote {folder}: lfi.from_pretrained({str(folder)!r}) reads it.')
    if args.push:
        commit = push_to_hub(folder, args.push, private=args.private or None)
        print(f'Uploaded: {commit.commit_url}')


def export_published(args: Namespace) -> None:
    """Write the checkpoint without its training state."""
    from lfi.export.published import publish

    publish(args.checkpoint, args.out, args.no_ema)


TARGETS: dict[str, tuple[Callable[[ArgumentParser], None], Callable[[Namespace], None]]] = {
    'student': (add_student_arguments, export_student),
    'timm': (add_student_arguments, export_student),
    'onnx': (add_onnx_arguments, export_graph),
    'torch-export': (partial(add_graph_export, suffix='.pt2'), export_graph),
    'tensorrt': (add_tensorrt_arguments, export_tensorrt),
    'hub': (add_hub_arguments, export_to_hub),
    'published': (add_published_arguments, export_published),
}
"""The functions that add a target's arguments, and that write it, by `--to`."""


def run(args: Namespace) -> None:
    """Write what `--to` names."""
    _, write = TARGETS[args.to]
    write(args)
