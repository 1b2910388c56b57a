"""Imported last of what killed processes are forked with: none of it is ever looked through for garbage, nor copied."""

import gc

import pyarrow.pandas_compat  # noqa: F401  # pyarrow imports it only with the first frame

gc.collect()
gc.freeze()
