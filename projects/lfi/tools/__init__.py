"""What the scripts in `tools/` do, once their arguments are known.

Each script reads its arguments without the OpenMMLab stack, so that its help and its errors come at once.
A script of more than a few lines has the rest of its code here, in a module of its name.
"""

from argparse import Namespace
from collections.abc import Callable
from functools import partial


def run_tool(
    parse_args: Callable[[], Namespace], main: Callable[[Namespace], None], *mistakes: type[Exception]
) -> None:
    """Parse the command line, import what runs need, and run a tool as `lfi.engine.launch.run` does.

    Args:
        parse_args: Of the tool; it imports nothing heavy.
        main: The tool.
        *mistakes: Further errors that the user of this tool can fix.
    """
    args = parse_args()
    from lfi.engine import launch

    launch.run(partial(main, args), *mistakes)
