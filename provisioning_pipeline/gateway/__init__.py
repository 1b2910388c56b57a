"""From a Clerk session to its workspace, for programs of your own: `ClerkWorkspaceMiddleware`."""

from provisioning_pipeline.gateway.middleware import ClerkWorkspaceMiddleware, workspace_of
from provisioning_pipeline.model.session import Session, WorkspaceContext

__all__ = ["ClerkWorkspaceMiddleware", "Session", "WorkspaceContext", "workspace_of"]
