"""A randomized campaign: seeded scripts of faults, kills and changes against a living fleet.

`python -m provisioning_pipeline_tests.campaign --episodes 500` runs it by hand; CI runs fifteen episodes of one seed.
"""
