-- The invariants of conversations, each recounted from the rows.

create function copilot_internal.path_differences(p_tenant_id uuid)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable
begin atomic
    with paths as materialized (
        select p.* from copilot_internal.conversation_paths p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        where (p_tenant_id is null or p.tenant_id = p_tenant_id) and c.erasing_at is null
    ), counted as (
        select p.id, p.tenant_id, count(m.id) as rows, coalesce(max(m.sequence_in_path), 0) as last,
               max(m.created_at) as last_at,
               (pg_catalog.array_agg(m.id order by m.sequence_in_path desc))[1] as last_id
        from paths p
        left join copilot_internal.conversation_messages m on m.path_id = p.id and m.tenant_id = p.tenant_id
        group by p.id, p.tenant_id
    ), inherited as (
        select p.id, p.tenant_id, coalesce(max(s.to_position), 0) as last,
               coalesce(pg_catalog.bool_and(s.shift < s.to_position), true) as is_sound
        from paths p
        left join copilot_internal.conversation_path_segments s on s.path_id = p.id and s.tenant_id = p.tenant_id
        group by p.id, p.tenant_id
    ), shown as (
        select p.id, p.tenant_id,
               (select count(*) from copilot_internal.lineage_messages(p.tenant_id, p.id, 1, p.inherited_count)) as rows
        from paths p where p.inherited_count > 0
    ), open as (
        -- What came to govern a path from elsewhere after its birth left its counts too high.
        select p.id, p.tenant_id, o.open_message_count, o.open_token_count
        from paths p
        cross join lateral copilot_internal.open_counts(p.tenant_id, p.id) o
        where not exists (
            select from copilot_internal.conversation_path_segments s
            join copilot_internal.compaction_operations c
              on c.path_id = s.source_path_id and c.tenant_id = s.tenant_id
            where s.path_id = p.id and s.tenant_id = p.tenant_id
              and greatest(c.applied_at, c.reverted_at) > p.created_at)
    )
    select v.check_name, p.tenant_id, p.id, v.expected, v.actual
    from paths p
    join counted c on c.id = p.id and c.tenant_id = p.tenant_id
    join inherited i on i.id = p.id and i.tenant_id = p.tenant_id
    left join shown s on s.id = p.id and s.tenant_id = p.tenant_id
    left join open o on o.id = p.id and o.tenant_id = p.tenant_id
    cross join lateral (values
        ('messages of a path', c.rows::text, p.last_sequence::text),
        ('last number of a path', c.last::text, p.last_sequence::text),
        ('last message of a path', c.last_id::text, p.last_message_id::text),
        ('inherited messages', i.last::text, p.inherited_count::text),
        ('inherited messages shown', coalesce(s.rows, 0)::text, p.inherited_count::text),
        ('segments in order', true::text, i.is_sound::text),
        ('open messages', coalesce(o.open_message_count, p.open_message_count)::text, p.open_message_count::text),
        ('open tokens', coalesce(o.open_token_count, p.open_token_count)::text, p.open_token_count::text)
    ) as v (check_name, expected, actual)
    where v.expected is distinct from v.actual;
end;
comment on function copilot_internal.path_differences(uuid) is
    'Where what a path notes of itself is not what its rows say. Run as the owner.';

create function copilot_internal.conversation_differences(p_tenant_id uuid)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable
begin atomic
    -- One that an application has inserted has no path until it is asked for.
    select 'primary paths of a conversation', c.tenant_id, c.id, '1', count(*) filter (where p.is_primary)::text
    from copilot_internal.conversations c
    join copilot_internal.conversation_paths p on p.conversation_id = c.id and p.tenant_id = c.tenant_id
    where (p_tenant_id is null or c.tenant_id = p_tenant_id) and c.erasing_at is null
    group by c.tenant_id, c.id
    having count(*) filter (where p.is_primary) <> 1
    union all
    select 'active path of its conversation', c.tenant_id, c.id, c.id::text, p.conversation_id::text
    from copilot_internal.conversations c
    join copilot_internal.conversation_paths p on p.id = c.active_path_id and p.tenant_id = c.tenant_id
    where (p_tenant_id is null or c.tenant_id = p_tenant_id) and p.conversation_id <> c.id
    union all
    select 'moments in the order of numbers', m.tenant_id, m.id, m.before_it::text, m.created_at::text
    from (
        select m.tenant_id, m.id, m.created_at,
               pg_catalog.lag(m.created_at) over (partition by m.path_id, m.tenant_id order by m.sequence_in_path)
                   as before_it
        from copilot_internal.conversation_messages m
        where p_tenant_id is null or m.tenant_id = p_tenant_id
    ) m
    where m.created_at < m.before_it
    union all
    select 'messages that an operation covers', o.tenant_id, o.id,
           coalesce(p.inherited_count + p.last_sequence, 0)::text, o.through_position::text
    from copilot_internal.compaction_operations o
    left join copilot_internal.conversation_paths p on p.id = o.path_id and p.tenant_id = o.tenant_id
    where (p_tenant_id is null or o.tenant_id = p_tenant_id) and o.state = 'applied'
      and o.through_position > coalesce(p.inherited_count + p.last_sequence, 0)
    union all
    select 'bill of a released context', x.tenant_id, x.id, x.cost_record_id::text, r.id::text
    from copilot_internal.execution_contexts x
    left join copilot_internal.e2b_cost_records r
      on r.tenant_id = x.tenant_id and r.request_id = 'execution_context:' || x.id::text
    where (p_tenant_id is null or x.tenant_id = p_tenant_id) and x.released_at is not null
      and x.cost_record_id is distinct from r.id
    union all
    select 'hold of a released context', x.tenant_id, x.id, 'settled', h.state
    from copilot_internal.execution_contexts x
    join copilot_internal.quota_reservations h on h.id = x.reservation_id and h.tenant_id = x.tenant_id
    where (p_tenant_id is null or x.tenant_id = p_tenant_id) and x.released_at is not null
      and h.state = 'held' and h.expires_at > pg_catalog.clock_timestamp();
end;
comment on function copilot_internal.conversation_differences(uuid) is
    'Where rows of conversations, operations and contexts contradict each other. Run as the owner.';

create function copilot_internal.verify_conversations(p_tenant_id uuid default null, p_limit integer default 10000)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('verify conversations');
    perform copilot_internal.check_limit(p_limit, 100000);
    return query
        select d.* from (
            select * from copilot_internal.path_differences(p_tenant_id)
            union all
            select * from copilot_internal.conversation_differences(p_tenant_id)
        ) d
        limit p_limit;
end $$;
comment on function copilot_internal.verify_conversations(uuid, integer) is 'What public.verify_conversations does.';

create function public.verify_conversations(p_tenant_id uuid default null, p_limit integer default 10000)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable rows 10
begin atomic
    select * from copilot_internal.verify_conversations(p_tenant_id, p_limit);
end;
comment on function public.verify_conversations(uuid, integer) is
    'Recounts what conversations, paths, compactions and contexts note of themselves: no rows is exact, else at most '
    'p_limit differences. Reads everything of the tenant, or of all. For service_role.';
