"""How much the pipeline adds to the bare API calls, and whether it slows down as the fleet grows.

    python -m benchmarks.provisioning

needs nothing but the project with its dependencies. One run measures two things on stand-ins of Clerk and Twenty
whose activation takes 2 s, each sandbox in a process of its own:

1. Seconds for 10 new tenants, three ways: the bare sequence of the same API calls with the same concurrency
   (`bare.py`), the pipeline, and the pipeline as a Dagster run. Every measurement has a fresh sandbox in the same
   state: one ready tenant, ledger and service account there, ten tenants new. Goals: 1.05 and 1.2 times the bare time.
2. Seconds from `CREATE DATABASE` to the first call at Twenty at fleets of 10 and of 10,000 databases (`fleets.py`).
   Goal: no growth beyond the noise.

The exit code is 1 when a goal is missed; with `--only-counts` times are shown and not judged.
"""
