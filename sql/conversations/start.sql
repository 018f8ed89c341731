-- The second extension: conversations and what belongs to them. It uses the first and is used by nothing of it.

-- Operators are resolved while this script runs.
set local search_path = pg_catalog, pg_temp;

-- Library, first extension and script may be of different versions. An upgrade script begins with the same statement.
select copilot_internal.begin_script(extversion)
from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations';
