-- Removing a deleted tenant. What it spent stays with the platform, without a tenant or person.

create function copilot_internal.left_of_tenant(p_tenant_id uuid) returns text[]
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_exists boolean;
    v_found text[] := '{}';
begin
    for v_table in
        select c.relname from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r'
        order by c.relname
    loop
        execute format('select exists (select from copilot_internal.%I r where r.tenant_id = $1)', v_table)
            into v_exists using p_tenant_id;
        if v_exists then
            v_found := v_found || v_table;
        end if;
    end loop;
    return v_found;
end $$;
comment on function copilot_internal.left_of_tenant(uuid) is
    'The tables that have rows of a tenant. Run as the owner.';

-- A hold that is held is an operation whose cost is still to come, and stays.
create function copilot_internal.purge_ledger(p_tenant_id uuid, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_hold constant text := 'select from copilot_internal.quota_reservations h
        where h.id = r.reservation_id and h.tenant_id = r.tenant_id';
    v_table text;
    v_source text;
    v_waits_for text;
    v_ids uuid[];
    v_done bigint;
begin
    -- The queue first: a row in it has no share in the rollups yet.
    v_done := copilot_internal.fold(p_tenant_id, p_limit);
    v_ids := array(select r.id from copilot_internal.quota_reservations r
        where r.tenant_id = p_tenant_id and r.state <> 'held' limit p_limit - v_done for update skip locked);
    delete from copilot_internal.reservation_extensions x
    where x.reservation_id = any (v_ids) and x.tenant_id = p_tenant_id;
    delete from copilot_internal.quota_reservations r where r.id = any (v_ids) and r.tenant_id = p_tenant_id;
    v_done := v_done + cardinality(v_ids);
    -- A committed hold goes before what it came to, a record before its corrections: verify() looks from the one to the
    -- other.
    for v_table, v_source, v_waits_for in
        values ('llm_cost_records', 'llm', c_hold), ('e2b_cost_records', 'e2b', c_hold),
               ('quota_charges', 'charge', c_hold), ('retired_costs', 'retired', 'select where false'),
               ('cost_corrections', 'correction', 'select from copilot_internal.llm_cost_records l
                    where l.id = r.record_id and l.tenant_id = r.tenant_id
                    union all
                    select from copilot_internal.e2b_cost_records l
                    where l.id = r.record_id and l.tenant_id = r.tenant_id')
    loop
        execute format('select array(select r.id from copilot_internal.%I r where r.tenant_id = $1
            and not exists (select from copilot_internal.pending_costs p
                            where p.tenant_id = r.tenant_id and p.record_id = r.id)
            and not exists (%s) limit $2)', v_table, v_waits_for)
        into v_ids using p_tenant_id, p_limit - v_done;
        perform copilot_internal.move_lines(p_tenant_id, v_source, v_ids, null);
        execute format('delete from copilot_internal.%I r where r.id = any ($1) and r.tenant_id = $2', v_table)
        using v_ids, p_tenant_id;
        v_done := v_done + cardinality(v_ids);
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.purge_ledger(uuid, integer) is
    'Removes at most so many holds and ledger rows of a tenant with their share of the rollups, and returns how many. '
    'The platform keeps the amounts. The fold locks of both are held. Run as the owner.';

-- Rollups that hold nothing, then what describes the tenant, and the tenant last.
create function copilot_internal.purge_rest(p_tenant_id uuid, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_no_costs constant text := ' and o.cost_usd = 0 and o.record_count = 0 and o.unpriced_count = 0';
    c_no_figures constant text := ' and o.input_tokens = 0 and o.output_tokens = 0 and o.duration_seconds = 0 '
        'and o.provider_cost_usd = 0';
    v_table text;
    v_waits boolean := false;
    v_done bigint := 0;
    v_count bigint;
begin
    foreach v_table in array array['pending_costs', 'queue_starts', 'quota_rollups', 'cost_rollups', 'period_rollups',
        'total_rollups', 'user_rollups', 'conversation_rollups', 'quota_events', 'reservation_extensions',
        'llm_cost_estimates', 'e2b_cost_estimates', 'quota_overrides', 'cost_quotas', 'tenant_llm_policies',
        'tenant_memberships', 'model_pricing', 'e2b_pricing', 'price_markups', 'erasures',
        -- Of pg_tollgate_conversations, where it is installed: messages before paths, paths before conversations.
        'conversation_messages', 'conversation_path_segments', 'compaction_operations', 'conversation_contexts',
        'conversation_configs', 'conversation_erasures', 'execution_contexts', 'conversation_paths', 'conversations']
    loop
        continue when to_regclass('copilot_internal.' || v_table) is null
            or v_table in ('execution_contexts', 'conversation_paths', 'conversations') and v_waits;
        -- A sandbox that is not billed yet keeps its path.
        if v_table = 'conversation_erasures' then
            execute 'select exists (select from copilot_internal.execution_contexts x
                where x.tenant_id = $1 and x.released_at is null)' into v_waits using p_tenant_id;
        end if;
        execute format('delete from copilot_internal.%1$I r where r.ctid = any (array(
            select o.ctid from copilot_internal.%1$I o where o.tenant_id = $1%2$s limit $2))', v_table, case
                when v_table = 'pending_costs' then ' and o.source = ''fold'' and o.nanos = 0'
                when v_table = 'quota_rollups' then ' and o.nanos = 0'
                when v_table in ('cost_rollups', 'period_rollups', 'total_rollups') then c_no_costs || c_no_figures
                when v_table in ('user_rollups', 'conversation_rollups') then c_no_costs
                end)
        using p_tenant_id, p_limit - v_done;
        get diagnostics v_count = row_count;
        v_done := v_done + v_count;
    end loop;
    -- What was denied on a quota of the platform names the tenant inside.
    delete from copilot_internal.quota_events e
    where e.ctid = any (array(
        select d.ctid from copilot_internal.quota_events d
        where d.event_type = 'denied' and d.payload ->> 'tenant_id' = p_tenant_id::text limit p_limit - v_done));
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    if v_done < p_limit and copilot_internal.left_of_tenant(p_tenant_id) = '{}' then
        delete from copilot_internal.tenants t where t.id = p_tenant_id;
        get diagnostics v_count = row_count;
        v_done := v_done + v_count;
    end if;
    return v_done;
end $$;
comment on function copilot_internal.purge_rest(uuid, integer) is
    'Removes at most so many of a tenant''s other rows, the tenant''s own when nothing else is left. Run as the owner.';

create function copilot_internal.purge_rows(p_tenant_id uuid)
    returns table (finished boolean, changed bigint, remaining text[])
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    c_step constant integer := 10000;
    v_deleted_at timestamptz;
    v_is_there boolean;
begin
    if p_tenant_id is null or p_tenant_id = '00000000-0000-0000-0000-000000000000' then
        raise exception 'p_tenant_id must name a tenant' using errcode = 'invalid_parameter_value';
    end if;
    select t.deleted_at into v_deleted_at from copilot_internal.tenants t where t.id = p_tenant_id for no key update;
    v_is_there := found;
    if not v_is_there and copilot_internal.left_of_tenant(p_tenant_id) = '{}' then
        raise exception 'there is no such tenant' using errcode = 'no_data_found';
    end if;
    -- One without a row is known by quotas of its own.
    if v_is_there and v_deleted_at is null or not v_is_there and exists (
        select from copilot_internal.cost_quotas q where q.tenant_id = p_tenant_id)
    then
        raise exception 'the tenant is not deleted' using errcode = 'object_not_in_prerequisite_state',
            hint = 'delete_tenant ends it. What is recorded after that is purged with the rest.';
    end if;
    perform copilot_internal.refuse_triggers(true);
    -- Holds that have expired are resolved as maintain() does it, since counters may count them. That comes first: once
    -- it reloads counters, a transaction that admits anything has a 64th of the tenants to itself.
    if exists (select from copilot_internal.quota_reservations r
               where r.tenant_id = p_tenant_id and r.state = 'held' and r.expires_at <= clock_timestamp())
    then
        perform copilot_internal.expire_reservations(c_step);
    end if;
    changed := 0;
    if copilot_internal.await_fold_lock(p_tenant_id, true)
       and copilot_internal.await_fold_lock('00000000-0000-0000-0000-000000000000')
    then
        changed := copilot_internal.purge_ledger(p_tenant_id, c_step);
        perform copilot_internal.reload_tenant_counters(p_tenant_id);
        if changed < c_step then
            changed := changed + copilot_internal.purge_rest(p_tenant_id, (c_step - changed)::integer);
        end if;
    end if;
    remaining := copilot_internal.left_of_tenant(p_tenant_id);
    finished := remaining = '{}' and not exists (select from copilot_internal.tenants t where t.id = p_tenant_id);
    return next;
end $$;
comment on function copilot_internal.purge_rows(uuid) is
    'What purge_tenant does, for its kernel, which has asked who calls. Run as the owner.';

create function public.purge_tenant(p_tenant_id uuid)
    returns table (finished boolean, changed bigint, remaining text[])
    language c volatile rows 1 as 'MODULE_PATHNAME', 'purge_tenant_wrapper';
comment on function public.purge_tenant(uuid) is
    'Removes all rows of a tenant that delete_tenant has ended (else 55000). A call removes about 10,000 rows: repeat '
    'it until finished. It waits for live holds. What was spent stays in the platform''s sums, without tenant or '
    'person. For service_role.';
