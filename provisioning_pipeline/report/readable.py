"""What stands in pages: escaped as HTML by the templates, and seen as it is."""

from typing import Any

from markupsafe import Markup

from provisioning_pipeline.model.visible import unsteered


def readable(value: Any) -> Any:
    """A value as a template shows it: text that would turn a line around or hide gets an escape that is seen.

    Every template's environment has it as its `finalize`, so that it holds for each value. Markup of ours stays.
    """
    return unsteered(value) if isinstance(value, str) and not isinstance(value, Markup) else value
