"""Parser of the commands and their shared arguments, without heavy imports."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmengine.config import DictAction

from lfi.config_files import find_config, teacher_names
from lfi.errors import did_you_mean
from lfi.utils.options import is_folder_option, parse_value


class ArgumentParser(argparse.ArgumentParser):
    """Parser with errors of one line and suggestions for unknown options.

    Args:
        **settings: arguments of `argparse.ArgumentParser`. Descriptions keep their line breaks by default.
    """

    def __init__(self, **settings: Any) -> None:
        self.options: list[str] = []
        self.checks: list[Callable[[argparse.Namespace], str | None]] = []
        self.substitutes: dict[str, str] = {}
        self.variants: dict[Any, Callable[[ArgumentParser], None]] = {}
        settings.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument, see argparse."""
        action = super().add_argument(*names, **settings)
        if settings.get('help') != argparse.SUPPRESS:
            self.options += action.option_strings
        return action

    def add_check(self, check: Callable[[argparse.Namespace], str | None]) -> None:
        """Add a check of the parsed arguments, which returns an error message or None."""
        self.checks.append(check)

    def add_substitutes(self, substitutes: Mapping[str, str]) -> None:
        """Add answers to options of other tools that this command lacks.

        Args:
            substitutes: what to type instead, with `{}` for the value, by the name of the option.
        """
        self.substitutes.update(substitutes)

    def add_variants(
        self, option: str, variants: Mapping[Any, Callable[[ArgumentParser], None]], **settings: Any
    ) -> None:
        """Add an option whose value decides which other arguments exist.

        Args:
            option: name of the option.
            variants: functions that add the arguments, by the option's value.
            **settings: arguments of `add_argument` for the option.
        """
        # argparse also accepts abbreviations of the option.
        self.chooser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        for parser in (self, self.chooser):
            parser.add_argument(option, **settings)
        self.variants = dict(variants)

    def add_chosen_variant(self, args: Sequence[str] | None) -> None:
        """Add the arguments for the value that the option of `add_variants` has on a command line."""
        try:
            namespace, _ = self.chooser.parse_known_args(args)
        except argparse.ArgumentError:
            # This parser reports the same error later.
            namespace = self.chooser.parse_args([])
        (value,) = vars(namespace).values()
        variants, self.variants = self.variants, {}
        variants[value](self)

    # Only one of argparse's overloads is needed.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse a command line; an unknown argument ends the process."""
        if self.variants:
            self.add_chosen_variant(args)
        # Ahead of argparse, which may take the option's value for another argument.
        self.check_substitutes(sys.argv[1:] if args is None else args)
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            hint = ' '.join(
                did_you_mean(word, self.options) for word in unknown if word.startswith('-')
            ).strip()
            self.error(f'unrecognized arguments: {" ".join(unknown)}{hint and f"; {hint}"}')
        for message in filter(None, (check(parsed) for check in self.checks)):
            self.error(message)
        return parsed, []

    def check_substitutes(self, args: Sequence[str]) -> None:
        """End the process at an option of `add_substitutes` that the command lacks."""
        for word, following in zip(args, [*args[1:], '-']):
            option, equals, value = word.partition('=')
            if option not in self.substitutes or option in self.options:
                continue
            if not equals:
                value = 'N' if following.startswith('-') else following
            self.error(f'there is no {option}; write {self.substitutes[option].format(value)}')

    def error(self, message: str) -> NoReturn:
        """Print an error of one line, and end the process with exit status 2."""
        self.exit(2, f'{self.prog}: error: {message} (all arguments: {self.prog} --help)\n')


class CfgOptions(DictAction):
    """Action of ``--cfg-options KEY=VALUE ...``; a pair without ``=`` is an error.

    mmengine's syntax: commas and brackets make lists, and numbers are parsed. In addition, texts keep their
    spaces, quoted texts inside brackets keep commas and brackets, and folders such as ``data_root=FOLDER``
    stay as typed.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to the namespace."""
        options = {}
        for pair in values or ():
            key, equals, text = pair.partition('=')
            try:
                options[key] = text if is_folder_option(key, text) else parse_value(text)
            except (ValueError, RecursionError):
                equals = ''
            if not equals:
                parser.error(f'{option_string} takes KEY=VALUE pairs, got {" ".join(values or ())}')
        self.keep(namespace, options, values or ())

    def keep(self, namespace: argparse.Namespace, options: dict[str, Any], pairs: Sequence[str]) -> None:
        """Store the parsed options in the namespace; a subclass may store the pairs as typed."""
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **options})


def config_file(name: str) -> str:
    """Convert an argument to the path of a config, see `find_config`.

    Raises:
        ArgumentTypeError: if the config does not exist.
    """
    try:
        return find_config(name)
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """Convert an argument to an integer of at least 1.

    Raises:
        ArgumentTypeError: if it is something else.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'must be a whole number above 0, got {text!r}')
    return int(text)


def whole(text: str) -> int:
    """Convert an argument to an integer of at least 0.

    Raises:
        ArgumentTypeError: if it is something else.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'must be a whole number of 0 or more, got {text!r}')
    return int(text)


def not_negative(text: str) -> float:
    """Convert an argument to a finite number of at least 0.

    Raises:
        ArgumentTypeError: if it is something else.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f'must be a number of 0 or more, got {text!r}')
    return number


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', type=config_file, help="config file, or the name of one of LFI's")
    add_cfg_options(parser)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``CHECKPOINT``."""
    parser.add_argument('checkpoint', help='path or URL of a .pth or .safetensors file')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device', help='device of the model, such as cpu or cuda:1 (default: a GPU if there is one)'
    )


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the input images and ``--frame-stride``."""
    parser.add_argument('inputs', nargs='+', help='images, folders of images, videos')
    parser.add_argument(
        '--frame-stride',
        type=positive,
        default=1,
        metavar='N',
        help='use every N-th frame of a video (%(default)s)',
    )


def add_templates(parser: argparse.ArgumentParser) -> None:
    """Add ``--templates``."""
    parser.add_argument(
        '--templates',
        nargs='+',
        metavar='PROMPT',
        help="prompts for the texts, with {} for the text (default: the teacher's own)",
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        metavar='KEY=VALUE',
        help='override config values, e.g. train_cfg.max_epochs=3 model.backbone.out_indices="[3,7]"',
    )


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--part``, ``--shape`` and ``--images`` of a student's graph."""
    parser.add_argument(
        '--part',
        choices=['classifier', 'detector', 'segmentor', 'backbone'],
        help='the task model, or the backbone, which returns tokens or maps (default: the task model)',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=positive,
        metavar=('H', 'W'),
        help="size of the images in pixels (default: the backbone's img_size)",
    )
    parser.add_argument(
        '--images', type=Path, metavar='FOLDER', help='images to compare on (default: images of Shapes)'
    )


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` of commands that can run as several processes."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the processes; dist_*.sh and slurm_*.sh set it (default: none)',
    )
    # Older launchers pass the rank as an argument; torchrun sets it in the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


DEVICE_SUBSTITUTE = {
    '--device': 'CUDA_VISIBLE_DEVICES=N before the command for one GPU, and CUDA_VISIBLE_DEVICES= for the CPU'
}
TRAINING_SUBSTITUTES = {
    **DEVICE_SUBSTITUTE,
    '--batch-size': '--cfg-options train_dataloader.batch_size={}',
    '--epochs': '--cfg-options max_epochs={0} if the config has max_epochs, as those of lfi init do, else '
    'train_cfg.max_epochs={0} and the epochs of param_scheduler',
    '--lr': '--cfg-options optim_wrapper.optimizer.lr={}',
}
"""Settings of a training's config, by the options that other trainers have for them."""
WORK_DIR = 'work_dirs/<config name>'
"""Default work dir of a run, as help texts say it."""


def add_run_arguments(parser: argparse.ArgumentParser, work_dir: str = WORK_DIR) -> None:
    """Add the arguments that training and testing share."""
    parser.add_argument('--work-dir', help=f'folder for logs and results (default: {work_dir})')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    add_launcher_arguments(parser)


def add_teacher(parser: argparse.ArgumentParser, default: str | None = 'clip-b16') -> None:
    """Add `--teacher`, whose teacher a written config names."""
    shown = "the config's" if default is None else default
    parser.add_argument(
        '--teacher',
        default=default,
        metavar='NAME',
        help=f'{", ".join(teacher_names())}, MODEL:TAG of lfi teachers, or a folder (default: {shown})',
    )


def add_training_arguments(parser: ArgumentParser, work_dir: str = WORK_DIR) -> None:
    """Add the arguments of a training except the config."""
    add_run_arguments(parser, work_dir)
    parser.add_substitutes(TRAINING_SUBSTITUTES)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from a checkpoint (without a name: the last complete one in the work dir)',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
