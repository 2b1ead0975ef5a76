"""What the scripts in `tools/` do, once their arguments are known.

Each script reads its arguments without the OpenMMLab stack, so that its help and its errors come at once.
A script of more than a few lines has the rest of its code here, in a module of its name.
"""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from importlib import import_module

from lfi.matplotlib_settings import pass_over_matplotlibrc


def run_tool(
    parse_args: Callable[[], Namespace], main: str | Callable[[Namespace], None], *mistakes: type[Exception]
) -> None:
    """Parse the command line, import what runs need, and run a tool as `lfi.engine.launch.run` does.

    Args:
        parse_args: Of the tool; it imports nothing heavy.
        main: The tool, or the name of the module here that has it as its `main`.
        *mistakes: Further errors that the user of this tool can fix.
    """
    args = parse_args()
    pass_over_matplotlibrc()
    from lfi.engine import launch

    tool = partial(run_module, main, args) if isinstance(main, str) else partial(main, args)
    options = getattr(args, 'cfg_options', None)
    # A study's are pairs for the command lines of its runs, which name them.
    launch.run(tool, *mistakes, options=options if isinstance(options, dict) else None)


def run_module(name: str, args: Namespace) -> None:
    """Import a module of this package, and run its `main`."""
    import_module(f'{__name__}.{name}').main(args)
