"""Print what lets a shell complete commands, options and configs.

eval "$(lfi completion bash)"
eval "$(lfi completion zsh)"

In ~/.bashrc or ~/.zshrc, or once into a file that these read.
"""

from __future__ import annotations

import io
import re
import runpy
import sys
from argparse import Namespace
from contextlib import redirect_stdout, suppress
from pathlib import Path

from lfi.arguments import ArgumentParser
from lfi.config_files import config_names

from .table import SCRIPTS, commands, script_of

SHELLS = {'bash': '', 'zsh': 'autoload -U +X bashcompinit && bashcompinit\n'}
"""What begins the completion of each shell; zsh takes bash's."""
FUNCTION = """_lfi() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} known=
    if [ "$COMP_CWORD" = 1 ]; then
        known='{commands}'
    elif [[ $word == -* ]]; then
        case $command in
{options}
        esac
    else
        case $command in
            completion) known='{shells}' ;;
            ask|pretrain) ;;
            *) known='{configs}' ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$known" -- "$word"))
}}
complete -o default -F _lfi lfi
"""


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('shell', choices=list(SHELLS), help='which shell')
    return parser.parse_args()


def main() -> None:
    """Print the code for a shell. Where nothing of it fits, the shell completes files."""
    args = parse_args()
    options = '\n'.join(
        f"            {command}) known='{' '.join(options_of(script_of(command)))}' ;;" for command in SCRIPTS
    )
    function = FUNCTION.format(
        commands=' '.join(commands()),
        options=options,
        shells=' '.join(SHELLS),
        configs=' '.join(config_names()),
    )
    print(f'{SHELLS[args.shell]}{function}', end='')


def options_of(script: Path) -> list[str]:
    """The options that a script's help names."""
    text, typed = io.StringIO(), sys.argv
    sys.argv = [str(script), '--help']
    try:
        with redirect_stdout(text), suppress(SystemExit):
            runpy.run_path(str(script), run_name='__main__')
    finally:
        sys.argv = typed
    _, _, lines = text.getvalue().partition('\noptions:\n')
    return sorted(set(re.findall(r'^ +(?:-\w, )?(--[\w-]+)', lines, re.M)))
