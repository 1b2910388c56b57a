"""Snapshots and policy in, plan out. Pure: the same input gives the same plan."""
