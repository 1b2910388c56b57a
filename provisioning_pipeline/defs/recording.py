"""How an op records the result of an asset's check."""

import dagster as dg


def evaluation(asset: str, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """The result as an event of that asset, for an op to yield."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=str(result.check_name),
        passed=result.passed,
        severity=result.severity,
        metadata=result.metadata,
    )
