"""What keeps the rest in order: alerts that leave the house, and pruning of what is old."""
