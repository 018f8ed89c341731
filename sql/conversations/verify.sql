-- The invariants of conversations, each recounted from the rows.

-- Each message with what comes up to it on its path. Functions and not queries, so that the planner knows of many rows
-- and compares them all at once.
create function copilot_internal.running_counts(p_tenant_id uuid)
    returns table (path_id uuid, tenant_id uuid, sequence_in_path integer, id uuid, created_at timestamptz, rows bigint,
                   live bigint, tokens numeric)
    language plpgsql stable rows 100000 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select m.path_id, m.tenant_id, m.sequence_in_path, m.id, m.created_at, count(*) over w,
               count(*) filter (where m.deleted_at is null) over w,
               coalesce(sum(copilot_internal.message_tokens(m)) filter (where m.deleted_at is null) over w, 0)
        from copilot_internal.conversation_messages m
        where p_tenant_id is null or m.tenant_id = p_tenant_id
        window w as (partition by m.path_id, m.tenant_id order by m.sequence_in_path);
end $$;
comment on function copilot_internal.running_counts(uuid) is
    'The messages of a tenant, or of all, with how many and how much there is up to each. Run as the owner.';

create function copilot_internal.lineage_parts(p_tenant_id uuid)
    returns table (path_id uuid, tenant_id uuid, source_path_id uuid, shift integer, from_position integer,
                   to_position integer, is_own boolean)
    language plpgsql stable rows 100000 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select s.path_id, s.tenant_id, s.source_path_id, s.shift,
               lag(s.to_position, 1, 0) over (partition by s.path_id, s.tenant_id order by s.to_position),
               s.to_position, false
        from copilot_internal.conversation_path_segments s
        where p_tenant_id is null or s.tenant_id = p_tenant_id
        union all
        select p.id, p.tenant_id, p.id, p.inherited_count, p.inherited_count, p.inherited_count + p.last_sequence, true
        from copilot_internal.conversation_paths p
        where p_tenant_id is null or p.tenant_id = p_tenant_id;
end $$;
comment on function copilot_internal.lineage_parts(uuid) is
    'Of what the paths of a tenant, or of all, consist: parts of others, and their own. Run as the owner.';

create function copilot_internal.path_differences(p_tenant_id uuid)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable
begin atomic
    with paths as materialized (
        select p.* from copilot_internal.conversation_paths p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        where (p_tenant_id is null or p.tenant_id = p_tenant_id) and c.erasing_at is null
    ), running as materialized (
        select r.* from copilot_internal.running_counts(p_tenant_id) r
    ), parts as materialized (
        select l.* from copilot_internal.lineage_parts(p_tenant_id) l
    ), counted as (
        select distinct on (r.path_id, r.tenant_id) r.path_id, r.tenant_id, r.rows, r.sequence_in_path as last,
               r.id as last_id
        from running r order by r.path_id, r.tenant_id, r.sequence_in_path desc
    ), inherited as (
        select l.path_id, l.tenant_id, max(l.to_position) as last, sum(coalesce(r.rows, 0)) as shown,
               pg_catalog.bool_and(l.shift = l.from_position and l.shift < l.to_position) as is_sound
        from parts l
        left join running r on r.path_id = l.source_path_id and r.tenant_id = l.tenant_id
            and r.sequence_in_path = l.to_position - l.shift
        where not l.is_own
        group by l.path_id, l.tenant_id
    ), governing as (
        select distinct on (l.path_id, l.tenant_id) l.path_id, l.tenant_id, o.through_position, o.head_message_count,
               o.head_token_count
        from parts l
        join copilot_internal.compaction_operations o
          on o.path_id = l.source_path_id and o.tenant_id = l.tenant_id and o.state = 'applied'
         and (l.is_own or o.through_position <= l.to_position)
        order by l.path_id, l.tenant_id, o.through_position desc, o.applied_at desc
    ), open as (
        select l.path_id, l.tenant_id,
               greatest(coalesce(max(g.head_message_count), 0) + sum(coalesce(h.live, 0) - coalesce(b.live, 0)), 0)
                   as messages,
               greatest(coalesce(max(g.head_token_count), 0) + sum(coalesce(h.tokens, 0) - coalesce(b.tokens, 0)), 0)
                   as tokens
        from parts l
        left join governing g on g.path_id = l.path_id and g.tenant_id = l.tenant_id
        left join running h on h.path_id = l.source_path_id and h.tenant_id = l.tenant_id
            and h.sequence_in_path = l.to_position - l.shift
        left join running b on b.path_id = l.source_path_id and b.tenant_id = l.tenant_id
            and b.sequence_in_path = case when g.through_position < l.to_position then g.through_position
                                          when g.through_position is not null then l.to_position end - l.shift
        group by l.path_id, l.tenant_id
    ), stale as (
        -- What came to govern a path from elsewhere after its birth left its counts too high.
        select distinct l.path_id, l.tenant_id
        from parts l
        join copilot_internal.compaction_operations o on o.path_id = l.source_path_id and o.tenant_id = l.tenant_id
        join paths p on p.id = l.path_id and p.tenant_id = l.tenant_id
        where not l.is_own and greatest(o.applied_at, o.reverted_at) > p.created_at
    )
    select v.check_name, p.tenant_id, p.id, v.expected, v.actual
    from paths p
    left join counted c on c.path_id = p.id and c.tenant_id = p.tenant_id
    left join inherited i on i.path_id = p.id and i.tenant_id = p.tenant_id
    left join open o on o.path_id = p.id and o.tenant_id = p.tenant_id
    left join stale s on s.path_id = p.id and s.tenant_id = p.tenant_id
    cross join lateral (values
        ('messages of a path', coalesce(c.rows, 0)::text, p.last_sequence::text),
        ('last number of a path', coalesce(c.last, 0)::text, p.last_sequence::text),
        ('last message of a path', c.last_id::text, p.last_message_id::text),
        ('inherited messages', coalesce(i.last, 0)::text, p.inherited_count::text),
        ('inherited messages shown', coalesce(i.shown, 0)::text, p.inherited_count::text),
        ('segments in order', true::text, coalesce(i.is_sound, true)::text),
        ('open messages', case when s.path_id is null then o.messages else p.open_message_count end::text,
            p.open_message_count::text),
        ('open tokens', case when s.path_id is null then o.tokens else p.open_token_count end::text,
            p.open_token_count::text)
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
      on r.tenant_id = x.tenant_id and r.request_id = copilot_internal.bill_key(x)
    where (p_tenant_id is null or x.tenant_id = p_tenant_id) and x.released_at is not null
      and x.cost_record_id is distinct from r.id
      -- One that was released without a sandbox, before that came: the orphan has the bill.
      and (x.cost_record_id is not null or not exists (
          select from copilot_internal.execution_contexts o
          where o.late_for_context_id = x.id and o.conversation_id = x.conversation_id and o.tenant_id = x.tenant_id))
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
    language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp set jit = off as $$
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
