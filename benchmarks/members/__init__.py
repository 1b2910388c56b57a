"""How quickly members come into their workspaces, beside the bare sequence of the same API calls.

    python -m benchmarks.members

needs nothing but the project with its dependencies. Every measurement has a fresh sandbox in a process of its own:
50 tenants whose organizations hold one admin each, and an empty stand-in Twenty whose passwords cost what the real
one's cost (bcrypt with 10 rounds). The pipeline makes the workspaces ready; then 19 more people join each organization
at Clerk, one of them as an admin. What is timed begins there and ends with all of them members: with name, role,
cleared onboarding, and a look at what they see. Two ways take turns:

- bare: the same calls with plain httpx2, as many tenants and calls at once as the pipeline's settings say (`bare.py`);
- pipeline: one whole run, with its reading of Clerk, its plan, its ledger and its report.

Goals: the bare calls take at least 0.95 of the pipeline's time, and the pipeline calls nothing for a member that the
bare sequence does not; of each tenant it asks Clerk once more before anybody gets access. A stand-in does the work of
Twenty's database and passwords and little else, so the pipeline's own time weighs more here than beside a real
server.

Last comes a run in which everything is new, workspaces too, with an activation that takes 2 s. After each run of the
pipeline its result is checked: everybody linked, no e-mail sent, and a second run with nothing to do. The exit code is
1 when a goal is missed; with `--only-counts` the time is shown and not judged.
"""
