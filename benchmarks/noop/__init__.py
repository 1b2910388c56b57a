"""How long the pipeline takes to see that there is nothing to do, beside the bare reads of the same rows.

    python -m benchmarks.noop

needs nothing but the project with its dependencies. A sandbox in a process of its own serves a fleet at rest: 10,000
tenants, 100,000 memberships, 50,000 people (see `benchmarks/rows.py` for what of it is real). Each round measures two
sides, one after the other, each in a fresh process:

- bare: httpx walks the same pages of Clerk and reads them with `.json()`, psycopg fetches the same rows of registry,
  ledger, catalogue and Twenty as tuples; nothing is kept and nothing is compared (`bare.py`);
- pipeline: opens its connections, observes and decides, as every reconciliation does; its plan must be empty.

Both read the same lists at the same time, and are timed from opening the first connection to closing the last. A walk
that is not counted goes first, because a stand-in makes its answers on the first one.

Goals: at most 1.5 times the bare reads, at least 1,000 tenants a second, less than 1 GB at the peak, and calls that
grow with Clerk's pages and not with tenants: a second, ten times smaller fleet tells. With `--profile`, one more round
of the pipeline under cProfile says where the time goes. The exit code is 1 when a goal is missed.
"""
