"""SQLAlchemy: `text()` for the functions, as `func` has no named arguments. Money is Decimal."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import JSON, Engine, Numeric, Uuid, bindparam, column, create_engine, select, table, text


def connect(url: str = "postgresql+psycopg://") -> Engine:
    """Autocommit: no transaction stays open while a model answers."""
    return create_engine(url, isolation_level="AUTOCOMMIT")


RECORD = text(
    """select recorded, cost_usd, reason, retry_after_seconds
         from record_llm_usage(p_tenant_id => :tenant, p_model_provider => :provider, p_model_name => :model,
                               p_usage => cast(:usage as jsonb), p_request_id => :request, p_enforce => :enforce)"""
).bindparams(bindparam("usage", type_=JSON)).columns(cost_usd=Numeric)

quota_status = table(
    "quota_status", column("tenant_id", Uuid), column("resource_type"), column("status"), column("limit_usd", Numeric),
    column("current_spend_usd", Numeric), schema="metrics",
)


def record(engine: Engine, tenant: UUID, provider: str, model: str, usage: dict, request: str, enforce: bool = False):
    """Records a finished call; with `enforce` only if it fits, and `recorded` is false where it does not."""
    arguments = {"tenant": tenant, "provider": provider, "model": model, "usage": usage, "request": request,
                 "enforce": enforce}
    with engine.connect() as connection:
        return connection.execute(RECORD, arguments).one()


def left(engine: Engine, tenant: UUID, resource: str) -> list[Decimal]:
    """What is left of each limit; metered quotas have none."""
    limits = select(quota_status.c.limit_usd - quota_status.c.current_spend_usd).where(
        quota_status.c.tenant_id == tenant, quota_status.c.resource_type == resource, quota_status.c.limit_usd.is_not(None)
    )
    with engine.connect() as connection:
        return list(connection.execute(limits).scalars())
