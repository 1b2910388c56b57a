# One image for every process: code-server, webserver, daemon, api, migrate, and every `provisioning` command.
# docs/deployment.md says how to run it. Any Debian with Python 3.11 to 3.13 (python3-venv, ca-certificates) can be BASE.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
# add `sandbox` for the stand-ins of compose.yaml's profile
ARG EXTRAS=celery,k8s,otel,apprise
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY provisioning_pipeline provisioning_pipeline
# An index or a proxy of yours: `--secret id=pip.conf,src=FILE`, and `--secret id=ca.crt,src=FILE` where pip.conf has
# `cert = /run/secrets/ca.crt`. Neither stays in the image, and without them pip asks PyPI.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv /app \
    && PIP_CONSTRAINT=constraints.txt /app/bin/pip install --no-cache-dir --disable-pip-version-check ".[${EXTRAS}]" \
    && /app/bin/pip uninstall --yes --quiet pip setuptools \
    && rm -r /app/lib/python3*/site-packages/pandas/tests /app/lib/python3*/site-packages/pyarrow/tests

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="provisioning_pipeline" \
      org.opencontainers.image.description="Gives every tenant a ready Twenty CRM workspace behind Clerk sign-in" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# numeric, so that runAsNonRoot can be checked; with a name, because PostgreSQL of the sandbox asks for one
RUN groupadd --gid 10001 provisioning \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin provisioning \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data \
    && install --directory --owner=10001 --group=10001 /run/sandbox /run/secrets /run/storage
COPY --from=build /app /app
COPY deploy/image/entrypoint /usr/local/bin/
COPY deploy/image/dagster.yaml deploy/image/workspace.yaml /etc/dagster/
# hadolint ignore=DL3064  # a user's name alone
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/etc/dagster \
    DAGSTER_PG_HOST=postgres \
    DAGSTER_PG_PORT=5432 \
    DAGSTER_PG_DB=dagster \
    DAGSTER_PG_USERNAME=dagster \
    CODE_LOCATION_HOST=code-server \
    CODE_LOCATION_PORT=4000
USER 10001:10001
# with /tmp the only place that is written to: reports, tables and plans, relative to it
WORKDIR /data
VOLUME /data
EXPOSE 3000 4000 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["entrypoint", "health"]
ENTRYPOINT ["entrypoint"]
CMD ["--help"]
