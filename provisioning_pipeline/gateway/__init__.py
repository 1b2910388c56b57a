"""From a Clerk session to its workspace, for programs of your own: `ClerkWorkspaceMiddleware`."""

from provisioning_pipeline.gateway.middleware import ClerkWorkspaceMiddleware, workspace_of
from provisioning_pipeline.model.session import Session, WorkspaceContext
from provisioning_pipeline.values.faults import SettingsError
from provisioning_pipeline.values.sessions import SessionSettings

__all__ = [
    "ClerkWorkspaceMiddleware",
    "Session",
    "SessionSettings",
    "SettingsError",
    "WorkspaceContext",
    "workspace_of",
]
