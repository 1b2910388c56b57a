"""The fleet as it is now: one read of Clerk and of each Twenty server serves several assets."""
