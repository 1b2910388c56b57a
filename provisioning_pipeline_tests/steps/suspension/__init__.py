"""Tests of the step lock_workspaces."""
