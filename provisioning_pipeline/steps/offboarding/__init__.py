"""A tenant that its customer leaves: its workspace is archived, exported and deleted, each with proof."""
