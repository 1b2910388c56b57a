"""Members kept true: the sensor that follows what changes at Clerk."""
