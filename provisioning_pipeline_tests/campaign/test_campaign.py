"""Fifteen episodes of a fixed seed, as CI plays them."""

from pathlib import Path

import pytest

from provisioning_pipeline_tests.campaign.campaign import Campaign

EPISODES, SEED = 15, 15


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifteen_episodes_violate_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    campaign = Campaign(SEED, tmp_path, tell=told.append)

    campaign.play(0, EPISODES)

    assert not campaign.violated, "\n".join(told)
    assert len(campaign.played) == EPISODES
    assert sum(played.kills for played in campaign.played) >= 10
    assert sum(played.ready for played in campaign.played) >= EPISODES
