"""What leaves unasked: webhooks about what becomes of tenants, the secret that signs them, and alerts for people."""

import hashlib
from collections.abc import Mapping
from functools import cached_property

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from provisioning_pipeline.settings import types as kinds
from provisioning_pipeline.settings.gateway import GatewaySettings
from provisioning_pipeline.values.faults import PREFIX
from provisioning_pipeline.values.urls import encrypted


class AnnouncingSettings(GatewaySettings):
    """The settings of webhooks that leave, and of alerts."""

    webhook_secret: kinds.SigningSecret | None = Field(
        default=None,
        description="Signs the webhooks that leave (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. Make "
        'one with: echo "whsec_$(openssl rand -base64 32)". Give it to those who receive them.',
        examples=["whsec_YW4gZXhhbXBsZTogbWFrZSBvbmUgb2YgeW91ciBvd24="],
    )
    webhook_urls: tuple[kinds.SecretHttpUrl, ...] = Field(
        default=(),
        description="Where we post, as a JSON list, that a tenant became ready, not ready, locked or gone. Without "
        "any, nothing is recorded or sent.",
        validate_default=True,
        examples=['["https://tenants.example.com/webhooks/provisioning"]'],
    )
    alert_webhook_url: kinds.SecretHttpUrl | None = Field(
        default=None,
        description="Where alerts are posted: an incoming webhook of Slack, or of anything that takes the same JSON. "
        "Without it, and without PROVISIONING_ALERT_URLS, no alert leaves.",
        examples=["https://hooks.slack.com/services/..."],
    )
    alert_urls: tuple[kinds.SecretUrl, ...] = Field(
        default=(),
        description="Where alerts go besides, as a JSON list of URLs that apprise takes: e-mail, Teams, PagerDuty and "
        "many others. Needs the extra `apprise`.",
        examples=['["mailtos://user:password@example.com?to=ops@example.com"]'],
    )

    @field_validator("webhook_urls", mode="after")
    @classmethod
    def _signed_and_encrypted(cls, urls: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        # the secret stands before the URLs; one that is wrong is reported by itself
        if urls and info.data.get("webhook_secret", urls) is None:
            message = f"needs {PREFIX}WEBHOOK_SECRET: who receives a webhook has to know that it is ours"
            raise ValueError(message)
        for url in urls:
            encrypted(url.get_secret_value(), but_for=info.data.get("allow_http_hosts", ()))
        return tuple(dict.fromkeys(urls))

    @cached_property
    def webhook_endpoints(self) -> Mapping[str, SecretStr]:
        """Where webhooks go, by the name under which the ledger knows each: a URL may hold a secret."""
        return {hashlib.sha256(url.get_secret_value().encode()).hexdigest()[:12]: url for url in self.webhook_urls}
