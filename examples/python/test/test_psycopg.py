from uuid import uuid4

import psycopg
from environment import USAGE, tell, tenant
from tollgate import Payer, QuotaRefused, connect, one, reserve

pool = connect()
payer = Payer(tenant)

tell("recorded", cost_usd=reserve(pool, payer, "openai", "gpt-4o", "Hi", 200).record(USAGE))
reserve(pool, payer, "openai", "gpt-4o", "Hi", 200).release("the user went away")
hold = reserve(pool, payer, "openai", "gpt-4o", "Hi", 200)
with psycopg.connect(options="", autocommit=True) as other:
    # The server ends all connections while the model answers.
    other.execute("""select pg_terminate_backend(pid, 10000) from pg_stat_activity
                      where usename = session_user and datname = current_database() and pid <> pg_backend_pid()""")
tell("restarted", cost_usd=hold.record(USAGE))
for what, other, model in [("unpriced", payer, "no-such-model"), ("unknown tenant", Payer(uuid4()), "gpt-4o")]:
    try:
        reserve(pool, other, "openai", model, "Hi", 200)
    except QuotaRefused as refused:
        tell(what, status=refused.status)
try:
    # 10,000,000 output tokens cost 100 USD.
    reserve(pool, payer, "openai", "gpt-4o", "Hi", 10_000_000)
except QuotaRefused as refused:
    tell("refused", status=refused.status, waits=refused.retry_after_seconds > 0)
check = "select allowed from check_quota_before_operation(%(tenant)s, 'llm', %(usd)s)"
try:
    one(pool, check, {"tenant": tenant, "usd": 0.1})
except psycopg.Error as error:
    tell("float", code=error.sqlstate)
try:
    reserve(pool, payer, "openai", "gpt-4o", "Hi", -1)
except psycopg.Error as error:
    tell("bad input", code=error.sqlstate)
pool.close()
