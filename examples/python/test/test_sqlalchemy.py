from environment import USAGE, tell, tenant
from sqlalchemy.exc import DBAPIError
from with_sqlalchemy import connect, left, record

engine = connect()
tell("recorded", cost_usd=record(engine, tenant, "openai", "gpt-4o", USAGE, "call-1").cost_usd)
dear = USAGE | {"prompt_tokens": 100_000_000, "total_tokens": 100_000_100}
refused = record(engine, tenant, "openai", "gpt-4o", dear, "call-2", enforce=True)
tell("refused", recorded=refused.recorded, waits=refused.retry_after_seconds > 0)
try:
    record(engine, tenant, "openai", "gpt-4o", USAGE | {"prompt_tokens": 1001, "total_tokens": 1101}, "call-1")
except DBAPIError as error:
    tell("reused id", code=error.orig.sqlstate)
tell("left", usd=left(engine, tenant, "llm"))
