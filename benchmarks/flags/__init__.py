"""How many queries it takes to see that nobody wrote to any tenant database, and how long a look into all takes.

    python -m benchmarks.flags

needs nothing but the project with its dependencies, and 8 MB of disk for each database. An embedded PostgreSQL holds
1,000 tenant databases, each a copy of one with Twenty's schema `core` and a workspace made by hand, and a ledger. Two
things are measured:

1. The queries of an observation after which nothing was written: counted by the server, in its own log. It is made
   once for all databases and once for a tenth of them. Goal: not one query more for all. Autovacuum is off, since it
   writes too; what it writes costs one more look into that database.
2. Seconds for a look into all databases, beside a bare loop: for each database psycopg connects, sends the same
   messages as a look does, fetches their rows and disconnects, as many at once. Both take turns, after a round of each
   that is not counted, because the first connection to a database is slower. Goal: at most 1.2 times the bare loop.

The exit code is 1 when a goal is missed; with `--only-counts` times are shown and not judged.
"""
