"""What the step backfill_members is made of: joining, settling, leaving, and what is written back at Clerk."""
