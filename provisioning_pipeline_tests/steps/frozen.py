"""Imported last of what killed processes are forked with: none of it is ever looked through for garbage, nor copied."""

import gc

import arro3.core
import arro3.io  # noqa: F401  # we import them only with the first file

gc.collect()
gc.freeze()
