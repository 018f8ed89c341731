-- The second extension: conversations and what belongs to them. It uses the first and is used by nothing of it.

-- Operators are resolved while this script runs.
set local search_path = pg_catalog, pg_temp;

-- Both have one library, and what the second calls in the first fits one version. The row of the extension that is
-- being made, or updated, has its new version already.
do $$
declare
    v_core constant text := (select extversion from pg_catalog.pg_extension where extname = 'pg_tollgate');
    v_own constant text :=
        (select extversion from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations');
begin
    if v_core is distinct from v_own then
        raise exception 'pg_tollgate_conversations % does not fit pg_tollgate %', v_own, v_core
            using errcode = 'object_not_in_prerequisite_state',
                hint = pg_catalog.format('Run alter extension pg_tollgate update to %L first.', v_own);
    end if;
end $$;
