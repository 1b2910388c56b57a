"""`python -m provisioning_pipeline_tests.campaign --episodes 500 [--seed S] [--episode N]`."""

import argparse
import logging
import signal
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Play the episodes that the arguments name; 1 when something was violated."""
    from provisioning_pipeline_tests.campaign.campaign import Campaign
    from provisioning_pipeline_tests.campaign.fleet import RealTwenty

    parser = argparse.ArgumentParser(prog="python -m provisioning_pipeline_tests.campaign", description=__doc__)
    parser.add_argument("--episodes", type=int, default=30, help="how many episodes")
    parser.add_argument("--seed", type=int, default=15, help="the same seed draws the same scripts")
    parser.add_argument("--first", type=int, help="number of the first episode, with which a fleet begins")
    parser.add_argument("--episode", type=int, help="replay this one, after those that its fleet lived through before")
    parser.add_argument("--evidence", type=Path, help="folder for what violated episodes leave")
    parser.add_argument("--twenty", help="base URL of a real, empty Twenty server of yours")
    parser.add_argument("--twenty-database", help="URL of its database")
    parser.add_argument("--twenty-empty", help="command that empties it and starts it again; run before each fleet")
    parser.add_argument("--verbose", action="store_true", help="print every action")
    given = parser.parse_args()
    # the stand-ins' own words about the faults that they are given
    for name in ("uvicorn.error", "psycopg.pool", "provisioning_pipeline.sandbox"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # ended in good order it takes PostgreSQL and all processes with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    of_twenty = (given.twenty, given.twenty_database, given.twenty_empty)
    if any(of_twenty) and not all(of_twenty):
        parser.error("--twenty, --twenty-database and --twenty-empty go together")
    real = RealTwenty(given.twenty.rstrip("/"), given.twenty_database, given.twenty_empty) if given.twenty else None
    evidence = given.evidence or Path(tempfile.mkdtemp(prefix="campaign-evidence-"))
    campaign = Campaign(
        given.seed, evidence, real=real, verbose=given.verbose, tell=lambda text: print(text, flush=True)
    )
    if given.episode is not None:
        campaign.replay(given.episode, given.first)
    else:
        campaign.play(given.first or 0, given.episodes)
    return 1 if campaign.violated else 0


if __name__ == "__main__":
    sys.exit(main())
