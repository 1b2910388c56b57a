"""How long a run over a fleet at rest takes, beside the bare reads of the same rows.

    python -m benchmarks.noop

needs nothing but the project with its dependencies. A sandbox in a process of its own serves 10,000 tenants, 100,000
memberships, 50,000 people (see `benchmarks/rows.py` for what of it is real). A first run, which is not counted, looks
into every tenant database and so brings the fleet to rest. Each round then measures three sides, one after the other,
each in a fresh process:

- bare reads: httpx2 walks the same pages of Clerk and reads them with `.json()`, psycopg fetches the same rows of
  registry, ledger, catalogue and Twenty as tuples; nothing is kept and nothing is compared (`bare.py`);
- plan: what `provisioning plan` does, observing and deciding; it must find nothing to do;
- whole run: what `provisioning apply` does, with its ledger and its report over all tenants; it must do nothing.

All read the same lists at the same time, and are timed from opening the first connection to closing the last. A walk
that is not counted goes first, because a stand-in makes its answers on the first one.

Goals of the whole run: at most 1.5 times the bare reads, at least 1,000 tenants a second, less than 500 MB at the
peak, and no more calls than pages, nor connections, nor statements than 80 and one for each hundred workspaces, whose
member records are in a schema each: a second, ten times smaller fleet is measured beside the large one. With
`--profile`, one more run under cProfile says where the time goes. The exit code is 1 when a goal is missed; with
`--only-counts` times and memory are shown and not judged, for a machine that has other work.
"""
