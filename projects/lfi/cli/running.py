"""Running a command whose arguments are known."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial

from lfi.utils.matplotlib_settings import pass_over_matplotlibrc


def run_tool(run: Callable[[Namespace], None], args: Namespace, *mistakes: type[Exception]) -> None:
    """Run a command as `lfi.engine.launch.run` does: errors that the user can fix end it with a line.

    Args:
        run: the command.
        args: its arguments. The line of an error names those of `cfg_options` that it is about.
        *mistakes: further errors that the user of this command can fix.
    """
    pass_over_matplotlibrc()
    from lfi.engine import launch

    options = getattr(args, 'cfg_options', None)
    # A study's are pairs for the command lines of its runs, which name them.
    launch.run(partial(run, args), *mistakes, options=options if isinstance(options, dict) else None)
