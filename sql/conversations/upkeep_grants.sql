-- What is granted on, and which rows are shown of, the tables and functions of contexts, configs, compaction, execution
-- contexts, retention, erasure and metrics. Read by grants.sql.

create function copilot_internal.upkeep_grants()
    returns table (privileges text, object text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values (null::text, null::text, null::text[])) as g where false
$$;
comment on function copilot_internal.upkeep_grants() is 'What grant_conversation_roles() grants of contexts and upkeep.';

-- The filter is of the policy for authenticated; without, people see nothing.
create function copilot_internal.upkeep_policies() returns table (name text, filter text)
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values (null::text, null::text)) as p where false
$$;
comment on function copilot_internal.upkeep_policies() is 'The tables of contexts and upkeep, with what people see.';
