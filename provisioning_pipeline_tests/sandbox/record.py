"""Records what a real Twenty answers: `python -m provisioning_pipeline_tests.sandbox.record BASE_URL DATABASE_URL`.

The server has to be empty, and yours: everything is signed up, broken by SQL and removed there. It needs no worker
and no mail, IS_WORKSPACE_CREATION_LIMITED_TO_SERVER_ADMINS and the limit of five workspaces as they are, and has to be
reached under the host `localhost`. The answers go to `recording/twenty-<version>.json`, without tokens, ids, times or
ports; the test in `test_twenty_recording.py` plays the same calls to the stand-in of that version and compares.
"""

import json
import sys
from pathlib import Path

import httpx2

from provisioning_pipeline_tests.sandbox.recording.play import play

FOLDER = Path(__file__).parent / "recording"


def main() -> None:
    """Play everything to the server that the arguments name, and write the file."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    base_url, database_url = sys.argv[1:]
    version = httpx2.get(f"{base_url}/client-config").raise_for_status().json()["appVersion"]
    answers = play(base_url, database_url)
    target = FOLDER / f"twenty-{version}.json"
    target.write_text(json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(answers)} answers of {version} are in {target.name}\n")


if __name__ == "__main__":
    main()
