"""The operator's decisions, from the settings, in the form in which deciding takes them."""

from collections.abc import Callable, Collection

from provisioning_pipeline.decide.detection import DetectionPolicy
from provisioning_pipeline.decide.registry_loss import LossBudget
from provisioning_pipeline.model.organization import Claim
from provisioning_pipeline.settings import GatewaySettings, Settings
from provisioning_pipeline.steps.databases.plan.take_over import TakeOverPolicy
from provisioning_pipeline.steps.databases.plan.tenant_databases import DatabasePolicy
from provisioning_pipeline.steps.members.plan.decisions import MemberPolicy


def detection_policy(settings: Settings) -> DetectionPolicy:
    """Which databases are tenants."""
    return DetectionPolicy(settings.adopt_databases, frozenset(settings.registry_excluded_statuses))


def loss_budget(settings: GatewaySettings, approved: str | None = None) -> LossBudget:
    """How many lost registry rows are believed."""
    return LossBudget(settings.registry_lost_share, settings.registry_lost_most, approved)


def standing_claims(settings: Settings, kept: Collection[str] = ()) -> Callable[[Claim], bool]:
    """Which claims to organizations stand; `kept` are database names whose registry rows were lost for a moment."""
    aside = frozenset(settings.registry_excluded_statuses)
    return lambda claim: claim.stands(aside, kept)


def member_policy(settings: Settings) -> MemberPolicy:
    """Who gets which role, and what becomes of those who left."""
    return MemberPolicy(
        roles=settings.member_roles,
        default_role=settings.member_default_role,
        gone=settings.members_gone,
        trusts_accounts=settings.members_unproven == "trust",
        store_external_id=settings.clerk_store_external_id and len(settings.servers) == 1,
    )


def database_policy(settings: Settings, registry_owner: str, approved: str | None = None) -> DatabasePolicy:
    """What may be done by SQL in tenant databases, and who comes over from hand-made workspaces.

    The settings say which roles are the tenant manager's, else it is `registry_owner`, the role that owns the
    registry's table (empty where there is none).
    """
    managers = settings.tenant_manager_roles or ((registry_owner,) if registry_owner else ())
    return DatabasePolicy(
        rows=settings.tenant_databases,
        everyone=settings.onboarding_people == "everyone",
        mend=settings.mend_hand_made,
        take_over=TakeOverPolicy(
            wanted=settings.take_over_members,
            domains=frozenset(domain.lower() for domain in settings.take_over_domains),
            managers=frozenset(managers),
            per_tenant=settings.take_over_per_tenant,
            most=settings.take_over_most,
            approved=approved,
        ),
        default_role=settings.member_default_role,
        most_rows=settings.tenant_database_rows,
    )
