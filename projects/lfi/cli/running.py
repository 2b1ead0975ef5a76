"""Run of a command with parsed arguments."""

import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial

from lfi.utils.debug_messages import drop_debug_messages
from lfi.utils.garbage import without_collector
from lfi.utils.matplotlib_settings import ignore_matplotlibrc


def run_tool(run: Callable[[Namespace], None], args: Namespace, *mistakes: type[Exception]) -> None:
    """Run a command by `lfi.engine.launch.run`, which prints errors that the user can fix as one line.

    Args:
        run: the command.
        args: parsed arguments. An error that concerns `cfg_options` names the options.
        *mistakes: further types of errors that the user of this command can fix.
    """
    # Ops that the GPU of a Mac lacks run on the CPU. torch reads the variable when it is imported.
    os.environ.setdefault('PYTORCH_ENABLE_MPS_FALLBACK', '1')
    ignore_matplotlibrc()
    drop_debug_messages()
    with without_collector():
        from lfi.engine import launch

    options = getattr(args, 'cfg_options', None)
    # A study stores the options as typed, for its runs. The runs report errors in them.
    launch.run(partial(run, args), *mistakes, options=options if isinstance(options, dict) else None)
