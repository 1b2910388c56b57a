"""Scripts are drawn the same way every time, and every kind of action is known."""

from collections import Counter

from provisioning_pipeline_tests.campaign.actions import ACTIONS
from provisioning_pipeline_tests.campaign.drawing import KINDS, RUNS, draw_episode, draw_fleet

SEED = 15


def test_the_same_seed_draws_the_same_script() -> None:
    assert [draw_episode(SEED, number) for number in range(50)] == [draw_episode(SEED, number) for number in range(50)]
    assert draw_fleet(SEED, 3) == draw_fleet(SEED, 3)


def test_another_seed_or_number_draws_another_script() -> None:
    drawn = [draw_episode(seed, number).actions for seed in range(4) for number in range(50)]

    assert len(set(drawn)) == len(drawn)


def test_every_kind_of_action_can_be_done_and_comes_up_within_a_campaign() -> None:
    drawn = Counter(action.kind for number in range(500) for action in draw_episode(SEED, number).actions)

    assert set(KINDS) == set(ACTIONS) == set(drawn)


def test_every_episode_has_a_run_among_its_first_actions() -> None:
    for number in range(200):
        assert any(action.kind in RUNS for action in draw_episode(SEED, number).actions[:4]), number
