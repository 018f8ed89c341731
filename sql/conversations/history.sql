-- History is what people read, context what models are shown.

-- A page is read by the library, src/conversations/page.rs. Where deleted messages lie in its range, it asks how far it
-- must reach.

create function copilot_internal.page_start(p_tenant_id uuid, p_path_id uuid, p_last integer, p_limit integer)
    returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_high integer := p_last;
    v_low integer := p_last;
    v_need integer := p_limit;
begin
    while v_need > 0 and v_high > 0 loop
        v_low := greatest(v_high - v_need, 0);
        v_need := v_need - (
            select count(*) from copilot_internal.lineage_messages(p_tenant_id, p_path_id, v_low + 1, v_high) l
            where (l.message).deleted_at is null);
        v_high := v_low;
    end loop;
    return v_low;
end $$;
comment on function copilot_internal.page_start(uuid, uuid, integer, integer) is
    'The effective number before a page of so many messages that are not deleted and end at a number. Run as the '
    'owner.';

create function copilot_internal.page_end(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_last integer, p_limit integer) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_low integer := p_first - 1;
    v_high integer := p_first - 1;
    v_need integer := p_limit;
begin
    while v_need > 0 and v_low < p_last loop
        v_high := least(v_low + v_need, p_last);
        v_need := v_need - (
            select count(*) from copilot_internal.lineage_messages(p_tenant_id, p_path_id, v_low + 1, v_high) l
            where (l.message).deleted_at is null);
        v_low := v_high;
    end loop;
    return v_high;
end $$;
comment on function copilot_internal.page_end(uuid, uuid, integer, integer, integer) is
    'The effective number with which a page of so many messages that are not deleted ends, when it begins at a number. '
    'Run as the owner.';

create function copilot_internal.resolve_path_messages(
    p_path_id uuid, p_limit integer default 1000, p_before integer default null)
    returns table (id uuid, conversation_id uuid, path_id uuid, tenant_id uuid, user_id uuid, role text, content text,
        metadata jsonb, sequence_in_path integer, is_branch_point boolean, branched_to_paths uuid[], message_type text,
        created_at timestamptz, effective_sequence integer, is_pinned boolean, pinned_at timestamptz, pinned_by uuid,
        deleted_at timestamptz)
    language c stable rows 50 as 'MODULE_PATHNAME', 'resolve_path_messages_wrapper';
comment on function copilot_internal.resolve_path_messages(uuid, integer, integer) is
    'The newest p_limit messages of a path before a number, inherited ones too, in order. Deleted ones are left out.';

create function copilot_internal.get_path_messages(
    p_tenant_id uuid, p_path_id uuid, p_limit integer default 50, p_before integer default null,
    p_after integer default null, p_include_deleted boolean default false, p_user_id uuid default null)
    returns table (id uuid, conversation_id uuid, path_id uuid, tenant_id uuid, user_id uuid, role text, content text,
        metadata jsonb, sequence_in_path integer, is_branch_point boolean, branched_to_paths uuid[], message_type text,
        created_at timestamptz, effective_sequence integer, is_pinned boolean, pinned_at timestamptz, pinned_by uuid,
        deleted_at timestamptz, finished_at timestamptz, has_more boolean, parts jsonb, token_count integer)
    language c stable rows 50 as 'MODULE_PATHNAME', 'get_path_messages_wrapper';
comment on function copilot_internal.get_path_messages(uuid, uuid, integer, integer, integer, boolean, uuid) is
    'A page of what a path shows people: the newest messages, those before a number, or those after one. Deleted ones '
    'are for those who manage the conversation.';

-- A unit is a call and its results. While one of them is a draft, none is shown.
create function copilot_internal.context_candidates(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_kept uuid[])
    returns table (message copilot_internal.conversation_messages, effective_position integer, unit bigint,
                   is_fixed boolean)
    language sql stable
begin atomic
    with earlier as (
        select k.place from (
            select copilot_internal.message_position(p_tenant_id, p_path_id, k.id) as place
            from pg_catalog.unnest(p_kept) k (id)
            union
            select pg_catalog.generate_series(r.first_position, r.last_position)
            from copilot_internal.pinned_of_path(p_tenant_id, p_path_id) g
            cross join lateral copilot_internal.unit_range(p_tenant_id, p_path_id, g.effective_sequence) r
            where g.effective_sequence < p_first
        ) k where k.place < p_first
    ), given as (
        select l.message, l.effective_position
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, p_first, 2147483647) l
        union all
        select l.message, l.effective_position
        from earlier e
        cross join lateral copilot_internal.lineage_messages(p_tenant_id, p_path_id, e.place, e.place) l
    ), begun as (
        select g.*, ((g.message).role = 'tool' and pg_catalog.lag((g.message).role) over w in ('assistant', 'tool')
                     and pg_catalog.lag(g.effective_position) over w = g.effective_position - 1) is not true as begins
        from given g window w as (order by g.effective_position)
    ), numbered as (
        select b.*, count(*) filter (where b.begins) over (order by b.effective_position) as unit from begun b
    ), judged as (
        select n.message, n.effective_position, n.unit,
               pg_catalog.bool_or((n.message).deleted_at is null
                                  and ((n.message).is_pinned or (n.message).id = any (p_kept))) over u as is_fixed,
               pg_catalog.bool_and((n.message).deleted_at is not null or (n.message).finished_at is not null) over u
                   as is_whole
        from numbered n window u as (partition by n.unit)
    )
    select j.message, j.effective_position, j.unit, j.is_fixed
    from judged j where (j.message).deleted_at is null and j.is_whole;
end;
comment on function copilot_internal.context_candidates(uuid, uuid, integer, uuid[]) is
    'What a model may be shown of a path. It is all from the beginning of a unit on, and before it what is kept or '
    'pinned, by units. Run as the owner.';

-- Read backwards, so that a long path costs as much as what is shown of it.
create function copilot_internal.context_start(
    p_tenant_id uuid, p_path_id uuid, p_last integer, p_through integer, p_kept uuid[], p_max_messages integer)
    returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    -- A unit that goes on beyond what an operation covers is shown whole.
    c_open constant integer :=
        (copilot_internal.unit_range(p_tenant_id, p_path_id, p_through + 1)).first_position;
    v_first integer := p_last + 1;
    v_step integer := p_max_messages + 1;
begin
    while v_first > c_open loop
        v_first := (copilot_internal.unit_range(p_tenant_id, p_path_id, greatest(v_first - v_step, c_open)))
            .first_position;
        exit when (select count(*) from copilot_internal.context_candidates(p_tenant_id, p_path_id, v_first, p_kept) c
                   where not c.is_fixed) > p_max_messages;
        v_step := least(v_step * 2, 1000000);
    end loop;
    return v_first;
end $$;
comment on function copilot_internal.context_start(uuid, uuid, integer, integer, uuid[], integer) is
    'From where on a path must be read for so many messages that are neither kept nor pinned. Run as the owner.';

-- The newest units that fit, and all that are pinned or kept.
create function copilot_internal.context_rows(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_kept uuid[], p_max_messages integer, p_max_tokens bigint)
    returns table (message copilot_internal.conversation_messages, effective_position integer, truncated boolean)
    language sql stable
begin atomic
    with candidates as materialized (
        select c.* from copilot_internal.context_candidates(p_tenant_id, p_path_id, p_first, p_kept) c
    ), units as (
        select c.unit, pg_catalog.bool_or(c.is_fixed) as is_fixed, count(*) as messages,
               sum(copilot_internal.message_tokens(c.message)) as tokens
        from candidates c group by c.unit
    ), summed as (
        select u.unit, u.is_fixed,
               coalesce(sum(u.messages) filter (where u.is_fixed) over (), 0)
                   + sum(u.messages) filter (where not u.is_fixed) over newer as messages,
               coalesce(sum(u.tokens) filter (where u.is_fixed) over (), 0)
                   + sum(u.tokens) filter (where not u.is_fixed) over newer as tokens
        from units u window newer as (order by u.unit desc)
    ), judged as (
        select s.unit, s.is_fixed or s.messages <= p_max_messages
                       and (p_max_tokens is null or s.tokens <= p_max_tokens) as is_shown
        from summed s
    )
    select c.message, c.effective_position, t.truncated
    from (select exists (select from judged o where not o.is_shown) as truncated) t
    left join (judged j join candidates c on c.unit = j.unit) on j.is_shown
    order by c.effective_position;
end;
comment on function copilot_internal.context_rows(uuid, uuid, integer, uuid[], integer, bigint) is
    'The messages of a path that a model is shown beside the summary, and whether some were left out. A row without a '
    'message where all were. Run as the owner.';

-- Estimated rows are many more than there are: compiling the query would take longer than running it, and so would
-- planning it anew for each range.
create function copilot_internal.get_path_context(
    p_tenant_id uuid, p_path_id uuid, p_max_messages integer default 200, p_max_tokens bigint default null,
    p_user_id uuid default null)
    returns table (kind text, message_id uuid, role text, content text, parts jsonb, token_count integer,
                   effective_sequence integer, is_pinned boolean, operation_id uuid, truncated boolean,
                   removal_count integer)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
    v_governing copilot_internal.compaction_operations;
    v_kept uuid[];
    v_first integer;
begin
    if p_tenant_id is null or p_max_messages is null or p_max_messages not between 1 and 1000
       or p_max_tokens < 1 then
        perform copilot_internal.refuse_input('p_max_messages must be between 1 and 1000, p_max_tokens above 0');
    end if;
    v_path := copilot_internal.readable_path(p_tenant_id, p_path_id, p_user_id);
    v_governing := copilot_internal.governing_operation(p_tenant_id, p_path_id);
    v_kept := coalesce(v_governing.kept_message_ids, '{}');
    v_first := copilot_internal.context_start(p_tenant_id, p_path_id, v_path.inherited_count + v_path.last_sequence,
        coalesce(v_governing.through_position, 0), v_kept, p_max_messages);
    return query
        with messages as (
            select r.* from copilot_internal.context_rows(p_tenant_id, p_path_id, v_first, v_kept, p_max_messages,
                p_max_tokens - octet_length(coalesce(v_governing.summary, '')) / 4) r
        )
        select 'summary', null::uuid, v_governing.summary_role, v_governing.summary, v_governing.summary_parts,
               null::integer, v_governing.through_position, false, v_governing.id,
               coalesce((select bool_or(m.truncated) from messages m), false), v_path.removal_count
        where v_governing.summary is not null or v_governing.summary_parts is not null
        union all
        (select 'message', (m.message).id, (m.message).role, (m.message).content, (m.message).parts,
               (m.message).token_count, m.effective_position, (m.message).is_pinned,
               case when m.effective_position <= v_governing.through_position then v_governing.id end, m.truncated,
               v_path.removal_count
        from messages m where (m.message).id is not null order by m.effective_position);
end $$;
comment on function copilot_internal.get_path_context(uuid, uuid, integer, bigint, uuid) is
    'What a model is shown of a path: the summary, what was kept or is pinned, all since. A call and its results stay '
    'together; over a limit the oldest unpinned go (truncated). removal_count is for who writes a summary of it.';
