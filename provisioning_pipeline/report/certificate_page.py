"""A certificate as one HTML page that needs nothing else: no network, no script."""

from collections.abc import Sequence
from datetime import UTC

from provisioning_pipeline.clients.files import place_at, write_whole
from provisioning_pipeline.model.contract import Certificate, Observation, Standing
from provisioning_pipeline.report.page import Table, page_environment
from provisioning_pipeline.report.summary import grouped
from provisioning_pipeline.settings import Readers

_SIGNS = {
    Standing.HOLDS: "✓ holds",
    Standing.DIFFERS: "≈ differs",
    Standing.FAILS: "✗ fails",
    Standing.BLOCKED: "? blocked",
    Standing.UNSEEN: "– unseen",
}
_COLUMNS = (("Behaviour", "name"), ("", "short"), ("Expected", "message"), ("Seen", "message"), ("s", "number"))
_CRASH_COLUMNS = (("Killed", "name"), ("", "short"), ("The next run's end", "message"), ("s", "number"))


def render(certificate: Certificate) -> str:
    """The page. Everything that comes from outside is escaped; the same certificate gives the same page."""
    crashes = tuple(
        (point.moment, "✓ converges" if point.converges else "✗ differs", point.seen, f"{point.seconds:.1f}")
        for point in certificate.crash_points
    )
    return (
        page_environment()
        .get_template("certificate.html")
        .render(
            certificate=certificate,
            began=f"{certificate.began_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            broken=_observations("What does not hold", certificate.broken),
            topics=[
                (topic, _observations(topic, seen))
                for topic, seen in grouped(certificate.observations, lambda seen: seen.topic).items()
            ],
            crashes=Table("Crash points", _CRASH_COLUMNS, crashes),
            counts=[(_SIGNS[standing], certificate.count(standing)) for standing in Standing],
        )
    )


def write(certificate: Certificate, base: str, *, readers: Readers = "owner") -> str:
    """Write the page of this certificate, for these readers on this machine; its whole path.

    `base` is a folder, or a URL that fsspec knows.

    Raises:
        NotWritten: when that place cannot be written to.
    """
    moment = f"{certificate.began_at.astimezone(UTC):%Y%m%d-%H%M%S}"
    path = place_at(base) / f"certificate-{certificate.server}-{moment}.html"
    write_whole(path, render(certificate).encode(), setting="PROVISIONING_REPORT_PATH", readers=readers)
    return str(path)


def _observations(caption: str, seen: Sequence[Observation]) -> Table:
    rows = tuple((one.behaviour, _SIGNS[one.standing], one.expected, one.seen, f"{one.seconds:.1f}") for one in seen)
    return Table(caption, _COLUMNS, rows)
