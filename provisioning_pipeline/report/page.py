"""The report as one HTML page that needs nothing else: no network, no script."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from provisioning_pipeline.report.summary import Summary

_MOST_READY_SHOWN = 500


def render(summary: Summary) -> str:
    """The page. Everything that comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("provisioning_pipeline.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    wells = [line for line in summary.tenants if line.state != "unwell"]
    return environment.get_template("reconciliation.html").render(
        summary=summary, wells=wells[:_MOST_READY_SHOWN], hidden=max(0, len(wells) - _MOST_READY_SHOWN)
    )


def write(summary: Summary, folder: Path) -> Path:
    """Write the page of this run and return its absolute path.

    Raises:
        OSError: when the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / f"reconciliation-{summary.run_id}.html").resolve()
    path.write_text(render(summary), encoding="utf-8")
    return path
