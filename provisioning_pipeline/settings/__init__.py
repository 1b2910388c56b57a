"""Settings: their kinds, those that a gateway needs, and all of the program's."""

from provisioning_pipeline.settings.faults import MissingTwentySettings
from provisioning_pipeline.settings.gateway import GatewaySettings
from provisioning_pipeline.settings.program import (
    Settings,
    load_settings,
)
from provisioning_pipeline.settings.twenty_server import SINGLE_SERVER, TwentyServer
from provisioning_pipeline.settings.types import Readers
from provisioning_pipeline.values.environment import PROXIES, Proxy, proxy_for
from provisioning_pipeline.values.faults import PREFIX, SettingsError

__all__ = [
    "PREFIX",
    "PROXIES",
    "SINGLE_SERVER",
    "GatewaySettings",
    "MissingTwentySettings",
    "Proxy",
    "Readers",
    "Settings",
    "SettingsError",
    "TwentyServer",
    "load_settings",
    "proxy_for",
]
