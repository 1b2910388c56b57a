"""Settings: their kinds, those that a gateway needs, and all of the program's."""

from provisioning_pipeline.settings.gateway import PREFIX, GatewaySettings
from provisioning_pipeline.settings.program import (
    SINGLE_SERVER,
    MissingTwentySettings,
    Settings,
    SettingsError,
    TwentyServer,
    load_gateway_settings,
    load_settings,
)

__all__ = [
    "PREFIX",
    "SINGLE_SERVER",
    "GatewaySettings",
    "MissingTwentySettings",
    "Settings",
    "SettingsError",
    "TwentyServer",
    "load_gateway_settings",
    "load_settings",
]
