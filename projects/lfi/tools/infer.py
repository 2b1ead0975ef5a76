"""Pictures and predictions of a trained model's images, folders and videos."""

from __future__ import annotations

from argparse import Namespace

from lfi.apis import InteractionInferencer
from lfi.engine import run_options
from lfi.engine.config_loading import load_config
from lfi.errors import as_usage_error

from .result_files import write_results


def main(args: Namespace) -> None:
    """Run the tool."""
    run_options.require_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    with as_usage_error(ImportError, OSError, RuntimeError, ValueError):
        inferencer = InteractionInferencer(cfg, args.checkpoint, args.device, args.templates)
        results = inferencer.stream(args.inputs, args.texts, args.batch_size, args.frame_stride)
    write_results(
        results,
        lambda result: inferencer.visualize(args.inputs, [result], args.texts)[0],
        inputs=args.inputs,
        classes=inferencer.classes,
        skipped=inferencer.skipped,
        frame_stride=args.frame_stride,
        out_dir=args.out_dir,
    )
