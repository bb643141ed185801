"""What a shell completes after `edgegen`, and `edgegen completion`, which prints the shell's part.

Nothing here asks a device, a hub or a toolkit: a press of the tab key answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NoReturn

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from edgegen.cli.command import command
from edgegen.cli.console import Console
from edgegen.core.errors import EdgegenError

VARIABLE = "_EDGEGEN_COMPLETE"
_PROGRAM = "edgegen"


def known_targets() -> str:
    """Return the targets, a line each, with its recipes: `onnx: fp32, …`."""
    from edgegen.core.targets import target_names

    return "\n".join(f"{target}: {', '.join(_recipes([target]))}" for target in target_names())


def known_profiles() -> str:
    """Return the names of the profiles that ship, and `host`, in one line."""
    return ", ".join(_profiles())


def known_models() -> str:
    """Return the models that ship, in one line."""
    from edgegen.builtin.models import BUILTIN_MODELS

    return ", ".join(BUILTIN_MODELS)


def complete_target(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete `TARGET`, and after a colon the target's recipes."""
    from edgegen.core.recipes import MIXES
    from edgegen.core.targets import target_names

    target, colon, _ = incomplete.partition(":")
    if not colon:
        return _starting(incomplete, target_names())
    recipes = (*_recipes([target]), *MIXES)
    return _starting(incomplete, (f"{target}:{recipe}" for recipe in recipes))


def complete_recipe(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the recipes of the targets that were given before it, else of all; or a file."""
    from edgegen.core.recipes import MIXES
    from edgegen.core.targets import target_names

    given = [target for target in context.params.get("targets") or () if ":" not in target]
    recipes = (*_recipes(given or target_names()), *MIXES)
    return [_file(incomplete), *_starting(incomplete, recipes)]


def complete_target_name(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a target's name."""
    from edgegen.core.targets import target_names

    return _starting(incomplete, target_names())


def complete_profile(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the profiles that ship, `host`, or a file."""
    return [_file(incomplete), *_starting(incomplete, _profiles())]


def complete_model(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the built-in models, those of the hub that are in its cache, or a folder."""
    from edgegen.builtin.models import BUILTIN_MODELS
    from edgegen.models.hub_errors import models_in_cache

    return [_folder(incomplete), *_starting(incomplete, (*BUILTIN_MODELS, *models_in_cache()))]


def complete_package(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a package: a folder."""
    return [_folder(incomplete)]


def complete_device(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete this machine and the devices that were used from here; none of them is asked."""
    from edgegen.devices.known import known

    return _starting(incomplete, ("local", *known()))


def answer(group: click.Group) -> NoReturn:
    """Answer the shell that asks by the variable `VARIABLE`, and end."""
    add_completion_class(_Bash, "bash")
    group.main(prog_name=_PROGRAM)


class _Bash(BashComplete):
    """Bash splits words at colons, too; models, targets and devices have some.

    So the line up to the cursor is split here, and what stands before the last colon is taken off
    the answers, since bash replaces only what follows it.
    """

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    local line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##*[[:space:]]}"
    local kept="${word%%"${word##*:}"}"
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$kept"}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, and the part of a word at the cursor."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words, incomplete


_SHELLS: Mapping[str, type[ShellComplete]] = {
    "bash": _Bash,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@command(
    examples=(
        "edgegen completion bash >> ~/.bashrc",
        "edgegen completion zsh >> ~/.zshrc",
        "edgegen completion fish >> ~/.config/fish/config.fish",
    ),
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.option("--json", "as_json", is_flag=True, help="Write the script as JSON.")
@click.pass_obj
def completion(console: Console, shell: str, as_json: bool) -> None:
    """Print what SHELL needs to complete commands, options, models, targets, profiles and devices.

    Append it to the file that the shell reads when it starts, as below, and open a new shell.
    """
    commands = click.get_current_context().find_root().command
    script = _SHELLS[shell](commands, {}, _PROGRAM, VARIABLE).source()
    if as_json:
        console.json({"shell": shell, "script": script})
    else:
        console.print(script)


def _profiles() -> tuple[str, ...]:
    from edgegen.core.named import names_in
    from edgegen.core.shipped import shipped

    return ("host", *names_in(shipped("profiles")))


def _recipes(targets: Iterable[str]) -> list[str]:
    from edgegen.core.targets import load_target

    found: list[str] = []
    for target in targets:
        try:
            found += load_target(target).recipes
        except EdgegenError:  # a target that does not exist has no recipes to propose
            continue
    return list(dict.fromkeys(found))


def _starting(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _file(incomplete: str) -> CompletionItem:
    return CompletionItem(incomplete, type="file")


def _folder(incomplete: str) -> CompletionItem:
    return CompletionItem(incomplete, type="dir")
