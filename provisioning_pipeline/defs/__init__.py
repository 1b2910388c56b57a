"""Dagster definitions by capability: thin, each a few lines over the layers below."""
