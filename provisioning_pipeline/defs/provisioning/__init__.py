"""From new tenant databases to ready workspaces: the job, its ops, its sensor and its schedule."""
