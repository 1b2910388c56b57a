"""A stand-in for a Twenty CRM server: the real protocol, recorded behaviour, state in Postgres."""

from provisioning_pipeline.sandbox.twenty.options import FurtherStep, Mail, TwentyOptions
from provisioning_pipeline.sandbox.twenty.server import StandInTwenty
from provisioning_pipeline.sandbox.twenty.store import core_sql

__all__ = ["FurtherStep", "Mail", "StandInTwenty", "TwentyOptions", "core_sql"]
