"""How much the HTTP API takes: requests a second of `GET /v1/auth/verify`, beside a bare check of the token.

    python -m benchmarks.api

needs nothing but the project with its dependencies; `wrk` sends the requests where it is installed, otherwise a
process of our own (`generator.py`). A sandbox holds 20 tenants of 10 members each, ready, one of them real and the
rest rows (see `benchmarks/rows.py`). Two servers take turns, each started anew on loopback for each measurement, with
the same uvicorn and one process:

- bare: a Starlette route with PyJWT's `decode`: signature, times, issuer and audience, with the key ready-made. It
  answers with the same four headers, which it has in a dictionary (`bare.py`);
- HTTP API: `provisioning serve` as in production, before a real PostgreSQL and the stand-in Clerk.

Before each measurement every member asks once, and must be answered with the right four headers; then comes load that
is not counted. There are two figures, because the HTTP API remembers tokens that it has verified, and the bare server
does not:

- known tokens: one per member, sent again and again, as browsers do for the minute that a token lasts;
- new tokens: each one signed beforehand and sent once, so that nothing remembered helps.

Every answer must be 200. Goals: at least 0.7 of the bare server's requests a second, 99 of 100 requests answered within
3 times the median, and no more calls to Clerk than one for each member in 30 s, whatever the requests. The exit code is
1 when a goal is missed; with `--only-counts` times are shown and not judged. A machine that does other work too makes
the slowest requests slower; trust ratios.
"""
