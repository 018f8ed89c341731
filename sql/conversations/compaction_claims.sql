-- Which paths need a compaction, who compacts them, and what has been done.

-- The index gives one day after the other. A window of more days is looked through day by day, so that each costs no
-- more than the rows asked for.
create function copilot_internal.compaction_candidates(
    p_limit integer, p_message_count_gt integer, p_token_count_gt bigint, p_active_after timestamptz,
    p_compacted_before timestamptz, p_claim boolean)
    returns setof copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    -- Below 32 messages no path is in the index, and all are read.
    v_query constant text := '
        select p.* from copilot_internal.conversation_paths p
        where p.activity_day %1$s and p.is_active and p.archived_at is null %2$s
          and p.open_message_count > $2 and ($3 is null or p.open_token_count > $3)
          and p.last_message_at > $4
          and (p.last_compaction_at is null or p.last_compaction_at < $5)
          and (p.compaction_claimed_until is null or p.compaction_claimed_until <= $6)
          and exists (select from copilot_internal.conversations c
                      where c.id = p.conversation_id and c.tenant_id = p.tenant_id and c.archived_at is null
                        and c.erasing_at is null and (c.expires_at is null or c.expires_at > $6))
        order by p.compaction_checked_at, p.size_class desc, p.id
        limit $7 %3$s';
    v_indexed constant text := case when p_message_count_gt >= 31 then 'and p.size_class >= 5' else '' end;
    v_lock constant text := case when p_claim then 'for no key update skip locked' else '' end;
    v_now constant timestamptz := clock_timestamp();
    v_day date := (greatest(p_active_after, '4713-01-02 00:00+00 BC') at time zone 'UTC')::date;
    v_found copilot_internal.conversation_paths[] := '{}';
    v_next copilot_internal.conversation_paths[];
    v_last date;
begin
    if v_now - p_active_after <= interval '31 days' then
        return query execute format(v_query, '>= $1', v_indexed, v_lock)
            using v_day, p_message_count_gt, p_token_count_gt, p_active_after, p_compacted_before, v_now, p_limit;
        return;
    end if;
    select max(p.activity_day) into v_last from copilot_internal.conversation_paths p
    where p.is_active and p.archived_at is null and (v_indexed = '' or p.size_class >= 5);
    while v_last >= v_day loop
        execute 'select array_agg(f) from (' || format(v_query, '= $1', v_indexed, '') || ') f' into v_next
            using v_last, p_message_count_gt, p_token_count_gt, p_active_after, p_compacted_before, v_now, p_limit;
        v_found := array(
            select f from unnest(v_found || v_next) f
            order by f.compaction_checked_at, f.size_class desc, f.id limit p_limit);
        select max(p.activity_day) into v_last from copilot_internal.conversation_paths p
        where p.is_active and p.archived_at is null and (v_indexed = '' or p.size_class >= 5)
          and p.activity_day < v_last;
    end loop;
    if p_claim then
        return query select p.* from copilot_internal.conversation_paths p
            where (p.id, p.tenant_id) in (select f.id, f.tenant_id from unnest(v_found) f)
              and (p.compaction_claimed_until is null or p.compaction_claimed_until <= v_now)
            order by p.id for no key update skip locked;
    else
        return query select f.* from unnest(v_found) f;
    end if;
end $$;
comment on function copilot_internal.compaction_candidates(
    integer, integer, bigint, timestamptz, timestamptz, boolean) is
    'Paths that show a model more messages, and more tokens, than this: never looked at first, then longest ago, then '
    'biggest. On request locked, without waiting. Run as the owner.';

create function copilot_internal.get_conversations_needing_compaction(
    p_message_count_gt integer default 50, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null, p_limit integer default 100,
    p_token_count_gt integer default null)
    returns table (conversation_id uuid, tenant_id uuid, active_path_id uuid, message_count bigint,
        last_message_at timestamptz, last_compaction_at timestamptz, path_id uuid, token_count bigint)
    language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('look for conversations to compact');
    perform copilot_internal.check_limit(p_limit, 1000);
    return query
        select p.conversation_id, p.tenant_id, coalesce(c.active_path_id, p.id), p.open_message_count::bigint,
               p.last_message_at, p.last_compaction_at, p.id, p.open_token_count
        from copilot_internal.compaction_candidates(p_limit, coalesce(p_message_count_gt, 50), p_token_count_gt,
                 coalesce(p_last_activity_after, clock_timestamp() - interval '7 days'),
                 coalesce(p_last_compaction_before, clock_timestamp() - interval '1 day'), false)
             with ordinality as p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        order by p.ordinality;
end $$;
comment on function copilot_internal.get_conversations_needing_compaction(
    integer, timestamptz, timestamptz, integer, integer) is 'What the function of this name in public does.';

create function public.get_conversations_needing_compaction(
    p_message_count_gt integer default 50, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null, p_limit integer default 100,
    p_token_count_gt integer default null)
    returns table (conversation_id uuid, tenant_id uuid, active_path_id uuid, message_count bigint,
        last_message_at timestamptz, last_compaction_at timestamptz, path_id uuid, token_count bigint)
    language sql stable rows 100
begin atomic
    select * from copilot_internal.get_conversations_needing_compaction(p_message_count_gt, p_last_activity_after,
        p_last_compaction_before, p_limit, p_token_count_gt);
end;
comment on function public.get_conversations_needing_compaction(integer, timestamptz, timestamptz, integer, integer) is
    'Paths that show a model more messages than this (and more tokens). Active in 7 days and not compacted in 1 day '
    'unless you say otherwise. Below 31 messages it reads all paths. Looks only: workers claim. For service_role.';

create function copilot_internal.claim_paths_for_compaction(
    p_limit integer default 20, p_lease interval default '10 minutes', p_message_count_gt integer default 50,
    p_token_count_gt bigint default null, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null)
    returns table (tenant_id uuid, conversation_id uuid, path_id uuid, message_count bigint, token_count bigint,
        base_operation_id uuid, config jsonb, removal_count integer)
    language plpgsql volatile security definer rows 20 set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    perform copilot_internal.require_server('claim paths');
    perform copilot_internal.check_limit(p_limit, 1000);
    perform copilot_internal.check_lease(p_lease);
    for v_path in
        select * from copilot_internal.compaction_candidates(p_limit, coalesce(p_message_count_gt, 50),
            p_token_count_gt, coalesce(p_last_activity_after, clock_timestamp() - interval '7 days'),
            coalesce(p_last_compaction_before, clock_timestamp() - interval '1 day'), true)
    loop
        config := copilot_internal.effective_config(v_path.tenant_id, (
            select c.user_id from copilot_internal.conversations c
            where c.id = v_path.conversation_id and c.tenant_id = v_path.tenant_id));
        update copilot_internal.conversation_paths p
        set compaction_claimed_until = case when (config ->> 'auto_compact_enabled')::boolean
                then clock_timestamp() + p_lease end,
            compaction_checked_at = case when (config ->> 'auto_compact_enabled')::boolean
                then p.compaction_checked_at else clock_timestamp() end
        where p.id = v_path.id and p.tenant_id = v_path.tenant_id;
        continue when not (config ->> 'auto_compact_enabled')::boolean;
        tenant_id := v_path.tenant_id;
        conversation_id := v_path.conversation_id;
        path_id := v_path.id;
        message_count := v_path.open_message_count;
        token_count := v_path.open_token_count;
        removal_count := v_path.removal_count;
        base_operation_id := (copilot_internal.governing_operation(v_path.tenant_id, v_path.id)).id;
        return next;
    end loop;
end $$;
comment on function copilot_internal.claim_paths_for_compaction(
    integer, interval, integer, bigint, timestamptz, timestamptz) is 'What public.claim_paths_for_compaction does.';

create function public.claim_paths_for_compaction(
    p_limit integer default 20, p_lease interval default '10 minutes', p_message_count_gt integer default 50,
    p_token_count_gt bigint default null, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null)
    returns table (tenant_id uuid, conversation_id uuid, path_id uuid, message_count bigint, token_count bigint,
        base_operation_id uuid, config jsonb, removal_count integer)
    language sql volatile rows 20
begin atomic
    select * from copilot_internal.claim_paths_for_compaction(p_limit, p_lease, p_message_count_gt, p_token_count_gt,
        p_last_activity_after, p_last_compaction_before);
end;
comment on function public.claim_paths_for_compaction(integer, interval, integer, bigint, timestamptz, timestamptz) is
    'Gives each of several workers other paths to compact, for the lease (10 seconds to 1 hour). Who finds nothing to '
    'do records strategy none. Paths whose config has auto_compact_enabled off are passed over. For service_role.';

create function copilot_internal.record_compaction_operation(
    p_conversation_id uuid default null, p_path_id uuid default null, p_tenant_id uuid default null,
    p_user_id uuid default null, p_strategy text default 'none', p_triggered_by text default 'manual',
    p_tokens_before integer default 0, p_tokens_after integer default 0, p_messages_before integer default 0,
    p_messages_after integer default 0, p_messages_summarized integer default 0, p_pinned_preserved integer default 0,
    p_duration_ms integer default null, p_used_llm boolean default false, p_cost_usd numeric default 0,
    p_success boolean default true, p_error text default null, p_metadata jsonb default '{}')
    returns uuid language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant_id uuid := p_tenant_id;
    v_words_may_be_erased boolean;
    v_id uuid;
begin
    perform copilot_internal.require_server('record a compaction');
    if p_conversation_id is null and p_tenant_id is null then
        raise exception 'p_tenant_id or p_conversation_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if least(p_tokens_before, p_tokens_after, p_messages_before, p_messages_after, p_messages_summarized,
             p_pinned_preserved, p_duration_ms) < 0
       or p_tokens_before is null or p_tokens_after is null or p_messages_before is null or p_messages_after is null
       or p_messages_summarized is null or p_pinned_preserved is null or p_used_llm is null or p_success is null
       or p_cost_usd < 0 or p_cost_usd >= 'Infinity' or octet_length(p_error) > 65536
    then
        raise exception 'counts and costs must be given, not negative and finite; p_error has at most 64 KiB'
            using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.check_compaction_arguments(p_strategy, p_triggered_by, null, null, '{}', p_metadata);
    if p_conversation_id is not null then
        select c.tenant_id into v_tenant_id from copilot_internal.conversations c
        where c.id = p_conversation_id and (p_tenant_id is null or c.tenant_id = p_tenant_id)
          and c.erasing_at is null
        -- No foreign key does it: what is noted stays no longer than the conversation, and no longer than a message
        -- of it that is erased.
        for share;
    else
        select t.id into v_tenant_id from copilot_internal.tenants t where t.id = p_tenant_id;
    end if;
    if not found or p_path_id is not null and not exists (
        select from copilot_internal.conversation_paths p
        where p.id = p_path_id and p.tenant_id = v_tenant_id and p.conversation_id = p_conversation_id)
    then
        raise exception 'there is no such tenant, conversation or path' using errcode = 'no_data_found';
    end if;
    -- The path first, in the order in which all lock it.
    update copilot_internal.conversation_paths p
    set compaction_checked_at = clock_timestamp(), compaction_claimed_until = null,
        last_compaction_at = case when p_success and p_strategy <> 'none' then clock_timestamp()
                                  else p.last_compaction_at end
    where p.id = p_path_id and p.tenant_id = v_tenant_id;
    -- As check_read() has it. What was measured stays, without a word.
    v_words_may_be_erased := exists (
        select from copilot_internal.conversation_paths p
        where p.conversation_id = p_conversation_id and p.tenant_id = v_tenant_id
          and (p_path_id is null or p.id = p_path_id)
          and p.last_erasure_at > clock_timestamp() - interval '1 hour');
    insert into copilot_internal.compaction_operations
        (conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, tokens_before, tokens_after,
         messages_before, messages_after, messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd,
         success, error, metadata, state)
    values (p_conversation_id, p_path_id, v_tenant_id, p_user_id, p_strategy, p_triggered_by, p_tokens_before,
            p_tokens_after, p_messages_before, p_messages_after, p_messages_summarized, p_pinned_preserved,
            p_duration_ms, p_used_llm, p_cost_usd, p_success,
            case when not v_words_may_be_erased then p_error end,
            case when v_words_may_be_erased then '{}' else p_metadata end,
            case when p_success then 'recorded' else 'failed' end)
    returning id into v_id;
    return v_id;
end $$;
comment on function copilot_internal.record_compaction_operation(uuid, uuid, uuid, uuid, text, text, integer, integer,
    integer, integer, integer, integer, integer, boolean, numeric, boolean, text, jsonb) is
    'What public.record_compaction_operation does.';

create function public.record_compaction_operation(
    p_conversation_id uuid default null, p_path_id uuid default null, p_tenant_id uuid default null,
    p_user_id uuid default null, p_strategy text default 'none', p_triggered_by text default 'manual',
    p_tokens_before integer default 0, p_tokens_after integer default 0, p_messages_before integer default 0,
    p_messages_after integer default 0, p_messages_summarized integer default 0, p_pinned_preserved integer default 0,
    p_duration_ms integer default null, p_used_llm boolean default false, p_cost_usd numeric default 0,
    p_success boolean default true, p_error text default null, p_metadata jsonb default '{}')
    returns uuid language sql volatile
begin atomic
    select copilot_internal.record_compaction_operation(p_conversation_id, p_path_id, p_tenant_id, p_user_id,
        p_strategy, p_triggered_by, p_tokens_before, p_tokens_after, p_messages_before, p_messages_after,
        p_messages_summarized, p_pinned_preserved, p_duration_ms, p_used_llm, p_cost_usd, p_success, p_error,
        p_metadata);
end;
comment on function public.record_compaction_operation(uuid, uuid, uuid, uuid, text, text, integer, integer, integer,
    integer, integer, integer, integer, boolean, numeric, boolean, text, jsonb) is
    'Notes a compaction done elsewhere, or that there was nothing to do (strategy none), and gives the path back. A '
    'model is shown the same. Within an hour of an erasure there it keeps no p_error or p_metadata. For service_role.';

-- Of a tenant its members are told, of all tenants the server alone.
create function copilot_internal.visible_operations(p_start timestamptz, p_end timestamptz, p_tenant_id uuid)
    returns setof copilot_internal.compaction_operations
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_tenant_id is null then
        perform copilot_internal.require_server('ask about all tenants');
        return query select o.* from copilot_internal.compaction_operations o
            where (p_start is null or o.timestamp >= p_start) and (p_end is null or o.timestamp <= p_end);
    else
        perform copilot_internal.access_tenant(p_tenant_id, null);
        return query select o.* from copilot_internal.compaction_operations o
            where o.tenant_id = p_tenant_id and o.timestamp >= coalesce(p_start, '-infinity')
              and o.timestamp <= coalesce(p_end, 'infinity');
    end if;
end $$;
comment on function copilot_internal.visible_operations(timestamptz, timestamptz, uuid) is
    'The operations of a span that the caller may be told sums of. Run as the owner.';

create function copilot_internal.get_compaction_metrics(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (total_operations bigint, successful_operations bigint, failed_operations bigint,
        total_tokens_saved bigint, total_messages_removed bigint, total_messages_summarized bigint,
        avg_compression_ratio numeric, avg_duration_ms numeric, total_cost_usd numeric, operations_using_llm bigint)
    language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp
begin atomic
    select count(*), count(*) filter (where o.success), count(*) filter (where not o.success),
           coalesce(sum(o.tokens_saved), 0)::bigint, coalesce(sum(o.messages_removed), 0)::bigint,
           coalesce(sum(o.messages_summarized), 0)::bigint, coalesce(avg(o.compression_ratio), 1),
           coalesce(avg(o.duration_ms), 0), pg_catalog.trim_scale(coalesce(sum(o.cost_usd), 0)),
           count(*) filter (where o.used_llm)
    from copilot_internal.visible_operations(p_start_time, p_end_time, p_tenant_id) o;
end;
comment on function copilot_internal.get_compaction_metrics(timestamptz, timestamptz, uuid) is
    'What public.get_compaction_metrics does.';

create function public.get_compaction_metrics(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (total_operations bigint, successful_operations bigint, failed_operations bigint,
        total_tokens_saved bigint, total_messages_removed bigint, total_messages_summarized bigint,
        avg_compression_ratio numeric, avg_duration_ms numeric, total_cost_usd numeric, operations_using_llm bigint)
    language sql stable rows 1
begin atomic
    select * from copilot_internal.get_compaction_metrics(p_start_time, p_end_time, p_tenant_id);
end;
comment on function public.get_compaction_metrics(timestamptz, timestamptz, uuid) is
    'Compactions in a span, summed. Without a tenant: of all tenants, for service_role.';

create function copilot_internal.get_compaction_strategy_breakdown(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (strategy text, operations bigint, tokens_saved bigint, avg_compression_ratio numeric,
        avg_duration_ms numeric)
    language sql stable security definer rows 7 set search_path = pg_catalog, pg_temp
begin atomic
    select o.strategy, count(*), coalesce(sum(o.tokens_saved), 0)::bigint, coalesce(avg(o.compression_ratio), 1),
           coalesce(avg(o.duration_ms), 0)
    from copilot_internal.visible_operations(p_start_time, p_end_time, p_tenant_id) o
    where o.success
    group by o.strategy
    order by 2 desc, 1;
end;
comment on function copilot_internal.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid) is
    'What public.get_compaction_strategy_breakdown does.';

create function public.get_compaction_strategy_breakdown(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (strategy text, operations bigint, tokens_saved bigint, avg_compression_ratio numeric,
        avg_duration_ms numeric)
    language sql stable rows 7
begin atomic
    select * from copilot_internal.get_compaction_strategy_breakdown(p_start_time, p_end_time, p_tenant_id);
end;
comment on function public.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid) is
    'Successful compactions in a span by strategy, the most used first. Without a tenant: of all, for service_role.';

-- Ids of private conversations are for those who may read them, and for who manages the tenant.
create function copilot_internal.get_recent_compaction_operations(
    p_limit integer default 10, p_tenant_id uuid default null)
    returns table (id uuid, conversation_id uuid, operation_timestamp timestamptz, strategy text, tokens_saved integer,
        compression_ratio numeric, duration_ms integer, success boolean)
    language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    v_sees_all boolean;
begin
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_tenant_id is null then
        perform copilot_internal.require_server('ask about all tenants');
        v_sees_all := true;
    else
        v_sees_all := copilot_internal.access_tenant(p_tenant_id, null) in ('server', 'owner', 'admin');
    end if;
    return query
        select o.id, o.conversation_id, o.timestamp, o.strategy, o.tokens_saved, o.compression_ratio, o.duration_ms,
               o.success
        from copilot_internal.compaction_operations o
        where (p_tenant_id is null or o.tenant_id = p_tenant_id)
          and (v_sees_all or exists (
              select from copilot_internal.conversations c
              where c.id = o.conversation_id and c.tenant_id = o.tenant_id and c.erasing_at is null
                and (c.user_id = copilot_internal.caller_user() or c.effective_audience <> 'private')))
        order by o.timestamp desc
        limit p_limit;
end $$;
comment on function copilot_internal.get_recent_compaction_operations(integer, uuid) is
    'What public.get_recent_compaction_operations does.';

create function public.get_recent_compaction_operations(p_limit integer default 10, p_tenant_id uuid default null)
    returns table (id uuid, conversation_id uuid, operation_timestamp timestamptz, strategy text, tokens_saved integer,
        compression_ratio numeric, duration_ms integer, success boolean)
    language sql stable rows 10
begin atomic
    select * from copilot_internal.get_recent_compaction_operations(p_limit, p_tenant_id);
end;
comment on function public.get_recent_compaction_operations(integer, uuid) is
    'The latest compactions, of conversations that the caller may read. Without a tenant: of all, for service_role.';
