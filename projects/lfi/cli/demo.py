"""Serve a local web page to ask a trained model about images and texts.

lfi demo CONFIG CHECKPOINT

Upload an image, type texts, and see the prediction and the map of each text. The page is served to this
machine only, and loads nothing from other servers.
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from importlib.util import find_spec

from lfi.errors import UsageError, as_usage_error

from .arguments import ArgumentParser, add_checkpoint, add_config_arguments, add_device


def port(text: str) -> int:
    """Convert an argument to a port number."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise ArgumentTypeError(f'must be a whole number from 1 to {2**16 - 1}, got {text!r}')
    return int(text)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    parser.add_argument('--port', type=port, help='port of the page (default: the first free one from 7860)')
    add_device(parser)


def run(args: Namespace) -> None:
    """Serve the page until interrupted."""
    from lfi.apis import InteractionInferencer, demo_page
    from lfi.engine import run_options
    from lfi.engine.config_loading import load_config

    if find_spec('gradio') is None:
        raise UsageError("the page needs gradio: pip install 'lfi[demo]'")
    run_options.require_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    with as_usage_error(OSError, ValueError):
        inferencer = InteractionInferencer(cfg, args.checkpoint, args.device)
        demo_page.serve(demo_page.build_page(inferencer, cfg, args.device), args.port)
