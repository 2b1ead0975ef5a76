"""A TensorRT engine of an ONNX file."""

from __future__ import annotations

from argparse import Namespace
from importlib.util import find_spec

from lfi.errors import UsageError, as_usage_error
from lfi.models.export import build_engine, tensorrt_doubts


def main(args: Namespace) -> None:
    """Run the tool.

    Raises:
        UsageError: If there is no such file, it is no ONNX file, TensorRT is not installed, or it cannot
            build the engine.
    """
    if not args.onnx.is_file():
        raise UsageError(f'there is no file {args.onnx}: lfi export-onnx writes one')
    if find_spec('onnx') is None:
        raise UsageError("reading ONNX needs onnx: pip install 'lfi[export]'")
    with as_usage_error(ValueError):
        doubts = tensorrt_doubts(args.onnx)
    print('\n'.join(f'{args.onnx}: {doubt}' for doubt in doubts) or f'{args.onnx}: TensorRT lists all of it.')
    if args.out is None:
        return
    with as_usage_error(ImportError, ValueError):
        engine = build_engine(args.onnx, tuple(args.batch), args.workspace)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(engine)
    print(f'Wrote {args.out} ({args.out.stat().st_size / 1e6:,.3f} MB).')
