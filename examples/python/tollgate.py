"""psycopg 3: reserve, call, record. Money is Decimal (a float is `double precision`, which no function takes)."""

import time
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid4

from psycopg import OperationalError
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool


@dataclass(frozen=True)
class Payer:
    tenant: UUID
    user: UUID | None = None


class QuotaRefused(Exception):
    """The call was not made. `status` says why: see docs/reference/answers.md."""

    def __init__(self, status: str, reason: str | None, retry_after_seconds: int | None):
        super().__init__(reason or status)
        self.status, self.retry_after_seconds = status, retry_after_seconds


def connect(conninfo: str = "") -> ConnectionPool:
    """Autocommit: each call is a transaction of its own, and none stays open while a model answers."""
    return ConnectionPool(conninfo, kwargs={"autocommit": True, "row_factory": dict_row}, max_size=8, open=True,
                          check=ConnectionPool.check_connection)


def one(pool: ConnectionPool, sql: str, arguments: dict) -> dict:
    with pool.connection() as connection:
        return connection.execute(sql, arguments).fetchone()


@dataclass
class Hold:
    """Money set aside for one call."""

    pool: ConnectionPool
    arguments: dict
    recorded: bool = False

    def record(self, usage: dict) -> Decimal | None:
        """Records what the provider reported, alone or inside its response, and frees the rest. None has no price."""
        self.recorded = True
        sql = """select cost_usd
                   from record_llm_usage(p_tenant_id => %(tenant)s, p_user_id => %(user)s,
                            p_model_provider => %(provider)s, p_model_name => %(model)s, p_usage => %(usage)s,
                            p_request_id => %(request)s, p_reservation_id => %(reservation)s)"""
        for wait in (0.1, 0.4, 1.6, None):
            try:
                return one(self.pool, sql, self.arguments | {"usage": Jsonb(usage)})["cost_usd"]
            except OperationalError:
                # The connection is lost, and the money is spent. The request id makes a retry harmless.
                if wait is None:
                    raise
                time.sleep(wait)

    def release(self, reason: str) -> None:
        """Gives the money back at once, unless the call was billed."""
        if not self.recorded:
            arguments = {"reservation": self.arguments["reservation"], "reason": reason}
            one(self.pool, "select * from release_reservation(%(reservation)s, %(reason)s)", arguments)


def reserve(pool: ConnectionPool, payer: Payer, provider: str, model: str, prompt: str, most: int | None) -> Hold:
    """Sets aside the most that a call can cost. A token is at least a byte; `most` None is the model's maximum."""
    arguments = {"tenant": payer.tenant, "user": payer.user, "provider": provider, "model": model, "most": most,
                 "input": len(prompt.encode()), "request": f"call-{uuid4()}"}
    estimate = one(
        pool,
        """select estimated_cost_usd
             from estimate_llm_cost(%(provider)s, %(model)s, %(input)s, %(most)s, p_tenant_id => %(tenant)s)""",
        arguments,
    )
    if estimate["estimated_cost_usd"] is None:
        raise QuotaRefused("UNPRICED", f"{model} has no price", None)
    hold = one(
        pool,
        """select reservation_id, status, reason, retry_after_seconds
             from reserve_quota(p_tenant_id => %(tenant)s, p_resource_type => 'llm', p_amount_usd => %(usd)s,
                                p_request_id => %(request)s, p_user_id => %(user)s)""",
        arguments | {"usd": estimate["estimated_cost_usd"]},
    )
    if hold["reservation_id"] is None:
        raise QuotaRefused(hold["status"], hold["reason"], hold["retry_after_seconds"])
    return Hold(pool, arguments | {"reservation": hold["reservation_id"]})
