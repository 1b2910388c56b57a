"""A whole campaign: fleets one after the other, the episodes of each, and what is told of them."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from provisioning_pipeline_tests.campaign.drawing import EPISODES_PER_FLEET, draw_episode, draw_fleet
from provisioning_pipeline_tests.campaign.episodes import Played, keep_evidence, play
from provisioning_pipeline_tests.campaign.fleet import Fleet, RealTwenty


class Campaign:
    """Plays episodes of one seed.

    Args:
        seed: draws every script.
        evidence: folder for what violated episodes leave.
        real: a real Twenty in place of the stand-in.
        verbose: tell every action.
        tell: takes each line of progress.
    """

    def __init__(
        self,
        seed: int,
        evidence: Path,
        *,
        real: RealTwenty | None = None,
        verbose: bool = False,
        tell: Callable[[str], object],
    ) -> None:
        self.seed, self.evidence, self.real, self.verbose, self.tell = seed, evidence, real, verbose, tell
        self.played: list[Played] = []
        self.violated: list[Played] = []
        self._born = 0

    def play(self, first: int, episodes: int) -> None:
        """Play so many episodes, beginning with this number."""
        begun = time.monotonic()
        numbers = list(range(first, first + episodes))
        while numbers:
            fleet_number = numbers[0] // EPISODES_PER_FLEET
            of_fleet = [number for number in numbers if number // EPISODES_PER_FLEET == fleet_number]
            self._fleet(fleet_number, list(of_fleet))
            numbers = numbers[len(of_fleet) :]
        found = Counter(violation.invariant for one in self.violated for violation in one.violations)
        kinds = ", ".join(f"{name} {times}" for name, times in found.most_common())
        self.tell(
            f"{len(self.played)} episodes, {sum(len(one.episode.actions) for one in self.played)} actions, "
            f"{sum(one.kills for one in self.played)} killed runs, {time.monotonic() - begun:.0f} s: "
            f"{len(self.violated)} episodes with violations{f' ({kinds})' if kinds else ''}."
        )
        if self.violated:
            self.tell(f"Evidence: {self.evidence}")

    def replay(self, number: int, first: int | None = None) -> None:
        """Play one episode again, after those that its fleet lived through before it: from `first` on, or from its
        begin."""
        fleet = number // EPISODES_PER_FLEET
        first = fleet * EPISODES_PER_FLEET if first is None else first
        self._fleet(fleet, list(range(first, number + 1)), stop_at_violation=False)

    def _fleet(self, number: int, episodes: list[int], *, stop_at_violation: bool = True) -> None:
        """A fleet lives through these episodes. After a violation the others get a fleet that nothing is wrong with."""
        while episodes:
            self._born = episodes[0]
            folder = Path(tempfile.mkdtemp(prefix="campaign-"))
            folder.chmod(0o755)
            try:
                with Fleet(draw_fleet(self.seed, number), folder, self.real) as fleet:
                    while episodes:
                        played = play(fleet, draw_episode(self.seed, episodes.pop(0)))
                        self._tell(fleet, played)
                        if played.violations and stop_at_violation:
                            break
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, fleet: Fleet, played: Played) -> None:
        self.played.append(played)
        mark = "✗" if played.violations else "✓"
        self.tell(
            f"{mark} episode {played.episode.number} (fleet {played.episode.fleet}, {fleet.script.gone}): "
            f"{len(played.log)} actions, {played.kills} killed, {played.quiet_runs} quiet runs, "
            f"{played.ready} of {played.tenants} tenants ready, {played.seconds:.1f} s"
        )
        if self.verbose and played.excuses:
            self.tell(f"    not ready: {'; '.join(played.excuses)}")
        if self.verbose or played.violations:
            for line in played.log:
                self.tell(f"    {line}")
        if played.violations:
            self.violated.append(played)
            for violation in played.violations:
                self.tell(f"  VIOLATED {violation}")
            kept = keep_evidence(fleet, played, self.evidence)
            self.tell(f"  evidence: {kept}")
            self.tell(
                f"  replay: python -m provisioning_pipeline_tests.campaign --seed {self.seed} "
                f"--first {self._born} --episode {played.episode.number}"
            )
