-- Compaction: how a prefix of a path is shown to a model. An operation is one row beside messages that stay as they
-- are, so it is all or nothing, and reverting it gives back what was there.
--
-- An operation of a path governs that path, and each that inherits all of what the operation covers. Of several the one
-- that reaches farthest does. Paths are locked by the order of their ids before an operation is written.

create table copilot_internal.compaction_operations (
    id uuid not null default pg_catalog.gen_random_uuid(),
    timestamp timestamptz not null default pg_catalog.clock_timestamp(),
    conversation_id uuid,
    path_id uuid,
    tenant_id uuid not null,
    user_id uuid,
    strategy text not null check (strategy in ('none', 'sliding_window', 'semantic', 'hybrid', 'minimal', 'moderate',
                                               'aggressive')),
    triggered_by text not null default 'manual' check (triggered_by in ('manual', 'auto')),
    tokens_before integer not null check (tokens_before >= 0),
    tokens_after integer not null check (tokens_after >= 0),
    tokens_saved integer generated always as (tokens_before - tokens_after) stored,
    messages_before integer not null check (messages_before >= 0),
    messages_after integer not null check (messages_after >= 0),
    messages_removed integer generated always as (messages_before - messages_after) stored,
    messages_summarized integer not null default 0 check (messages_summarized >= 0),
    pinned_preserved integer not null default 0 check (pinned_preserved >= 0),
    duration_ms integer check (duration_ms >= 0),
    used_llm boolean not null default false,
    cost_usd numeric default 0 check (cost_usd >= 0 and cost_usd < 'Infinity'),
    compression_ratio numeric generated always as (
        case when tokens_before > 0 then pg_catalog.round(tokens_after::numeric / tokens_before, 4) else 1 end) stored,
    success boolean not null default true,
    error text check (pg_catalog.octet_length(error) <= 65536),
    metadata jsonb not null default '{}'
        check (pg_catalog.jsonb_typeof(metadata) = 'object' and pg_catalog.octet_length(metadata::text) <= 65536),
    state text not null default 'recorded' check (state in ('recorded', 'applied', 'reverted', 'failed')),
    through_position integer check (through_position >= 1),
    summary text check (pg_catalog.octet_length(summary) <= 262144),
    summary_parts jsonb check (pg_catalog.octet_length(summary_parts::text) <= 4194304),
    summary_role text not null default 'user' check (summary_role in ('user', 'system', 'developer', 'assistant')),
    kept_message_ids uuid[] not null default '{}' check (pg_catalog.cardinality(kept_message_ids) <= 2000),
    base_operation_id uuid,
    head_message_count integer not null default 0,
    head_token_count bigint not null default 0,
    cost_record_id uuid,
    applied_at timestamptz,
    reverted_at timestamptz,
    reverted_by uuid,
    revert_reason text check (pg_catalog.octet_length(revert_reason) <= 2000),
    emptied_at timestamptz,
    request_id text check (pg_catalog.octet_length(request_id) <= 800),
    trace_id text check (pg_catalog.octet_length(trace_id) <= 800),
    span_id text check (pg_catalog.octet_length(span_id) <= 800),
    primary key (id, tenant_id),
    check (state not in ('applied', 'reverted') or through_position is not null and path_id is not null
           and conversation_id is not null and applied_at is not null)
);
create index compaction_operations_governing_idx
    on copilot_internal.compaction_operations (path_id, tenant_id, through_position desc) where state = 'applied';
create index compaction_operations_timestamp_idx
    on copilot_internal.compaction_operations (tenant_id, timestamp desc);
create index compaction_operations_conversation_id_idx
    on copilot_internal.compaction_operations (conversation_id, tenant_id);
create unique index compaction_operations_request_id_idx
    on copilot_internal.compaction_operations (tenant_id, request_id) where request_id is not null;
comment on table copilot_internal.compaction_operations is
    'Compactions: what a model is shown instead of a path''s first messages, and what was only recorded. Messages stay '
    'as they are.';
comment on column copilot_internal.compaction_operations.id is 'The operation.';
comment on column copilot_internal.compaction_operations.timestamp is 'When it was recorded.';
comment on column copilot_internal.compaction_operations.conversation_id is 'The conversation, if named.';
comment on column copilot_internal.compaction_operations.path_id is 'The path, if named.';
comment on column copilot_internal.compaction_operations.tenant_id is 'The tenant.';
comment on column copilot_internal.compaction_operations.user_id is 'On whose behalf.';
comment on column copilot_internal.compaction_operations.strategy is
    'none, sliding_window, semantic, hybrid, minimal, moderate or aggressive. none: looked at, nothing to do.';
comment on column copilot_internal.compaction_operations.triggered_by is 'manual or auto.';
comment on column copilot_internal.compaction_operations.tokens_before is 'Tokens that a model was shown before.';
comment on column copilot_internal.compaction_operations.tokens_after is 'Tokens that a model is shown after.';
comment on column copilot_internal.compaction_operations.tokens_saved is 'The difference.';
comment on column copilot_internal.compaction_operations.messages_before is 'Messages that a model was shown before.';
comment on column copilot_internal.compaction_operations.messages_after is 'Messages that a model is shown after.';
comment on column copilot_internal.compaction_operations.messages_removed is 'The difference.';
comment on column copilot_internal.compaction_operations.messages_summarized is 'Messages that the summary stands for.';
comment on column copilot_internal.compaction_operations.pinned_preserved is 'Pinned messages that were kept.';
comment on column copilot_internal.compaction_operations.duration_ms is 'How long it took, in milliseconds.';
comment on column copilot_internal.compaction_operations.used_llm is 'Whether a model wrote the summary.';
comment on column copilot_internal.compaction_operations.cost_usd is
    'USD: of the cost record, where one is named; else as the caller said.';
comment on column copilot_internal.compaction_operations.compression_ratio is 'tokens_after / tokens_before.';
comment on column copilot_internal.compaction_operations.success is 'Whether it succeeded.';
comment on column copilot_internal.compaction_operations.error is 'What went wrong.';
comment on column copilot_internal.compaction_operations.metadata is 'The caller''s own notes; emptied by an erasure.';
comment on column copilot_internal.compaction_operations.state is
    'applied (changes what models are shown), reverted, failed (would have made nothing smaller), or recorded only.';
comment on column copilot_internal.compaction_operations.through_position is
    'Up to which message of the path it goes, by effective number.';
comment on column copilot_internal.compaction_operations.summary is
    'What stands for the messages; emptied when one of them is erased.';
comment on column copilot_internal.compaction_operations.summary_parts is 'The same in parts, as a provider made it.';
comment on column copilot_internal.compaction_operations.summary_role is 'In whose role it is shown; user by default.';
comment on column copilot_internal.compaction_operations.kept_message_ids is
    'Messages among them that are shown all the same: the caller''s choice, and what was pinned when it was applied.';
comment on column copilot_internal.compaction_operations.base_operation_id is 'The operation that governed before it.';
comment on column copilot_internal.compaction_operations.head_message_count is
    'Messages that summary and kept ones count as.';
comment on column copilot_internal.compaction_operations.head_token_count is 'Tokens that they count as.';
comment on column copilot_internal.compaction_operations.cost_record_id is 'The record of the model''s call.';
comment on column copilot_internal.compaction_operations.applied_at is 'When it was applied.';
comment on column copilot_internal.compaction_operations.reverted_at is 'When it was reverted.';
comment on column copilot_internal.compaction_operations.reverted_by is 'The user who took it back.';
comment on column copilot_internal.compaction_operations.revert_reason is
    'Why: deleted or erased for a message that it covered.';
comment on column copilot_internal.compaction_operations.emptied_at is
    'When a message that it covers was erased, and its words with it.';
comment on column copilot_internal.compaction_operations.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.compaction_operations.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.compaction_operations.span_id is 'OpenTelemetry span.';

create function copilot_internal.governing_operation(p_tenant_id uuid, p_path_id uuid)
    returns copilot_internal.compaction_operations
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_operation copilot_internal.compaction_operations;
begin
    select o.* into v_operation
    from (
        select p_path_id as path_id, 2147483647 as last_position
        union all
        select s.source_path_id, s.to_position from copilot_internal.conversation_path_segments s
        where s.path_id = p_path_id and s.tenant_id = p_tenant_id
    ) l
    cross join lateral (
        select c.* from copilot_internal.compaction_operations c
        where c.path_id = l.path_id and c.tenant_id = p_tenant_id and c.state = 'applied'
          and c.through_position <= l.last_position
        order by c.through_position desc, c.applied_at desc
        limit 1
    ) o
    order by o.through_position desc, o.applied_at desc
    limit 1;
    return v_operation;
end $$;
comment on function copilot_internal.governing_operation(uuid, uuid) is
    'The operation by which a path is shown to a model: the one that reaches farthest. It is applied to the path, or '
    'to one of which the path inherits all that it covers. Run as the owner.';

-- `offset 0`: the range is a condition of the index whatever the statistics say, and not one of the join.
create function copilot_internal.lineage_messages(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_last integer)
    returns table (effective_position integer, message copilot_internal.conversation_messages)
    language sql stable
begin atomic
    select p.inherited_count + o.sequence_in_path, o.message
    from copilot_internal.conversation_paths p
    cross join lateral (
        select m.sequence_in_path, m as message
        from copilot_internal.conversation_messages m
        where m.path_id = p.id and m.tenant_id = p.tenant_id
          and m.sequence_in_path between p_first - p.inherited_count and p_last - p.inherited_count
        offset 0
    ) o
    where p.id = p_path_id and p.tenant_id = p_tenant_id
    union all
    select s.shift + o.sequence_in_path, o.message
    from copilot_internal.conversation_path_segments s
    cross join lateral (
        select m.sequence_in_path, m as message
        from copilot_internal.conversation_messages m
        where m.path_id = s.source_path_id and m.tenant_id = s.tenant_id
          and m.sequence_in_path between greatest(p_first - s.shift, 1) and least(p_last, s.to_position) - s.shift
        offset 0
    ) o
    where s.path_id = p_path_id and s.tenant_id = p_tenant_id and s.to_position >= p_first and s.shift < p_last;
end;
comment on function copilot_internal.lineage_messages(uuid, uuid, integer, integer) is
    'The messages of a path from one effective number to another, inherited ones too, in no order. Run as the owner.';

create function copilot_internal.message_position(p_tenant_id uuid, p_path_id uuid, p_message_id uuid) returns integer
    language sql stable
begin atomic
    select case when m.path_id = p.id then p.inherited_count + m.sequence_in_path
                else (select s.shift + m.sequence_in_path from copilot_internal.conversation_path_segments s
                      where s.path_id = p.id and s.tenant_id = p.tenant_id and s.source_path_id = m.path_id
                        and s.shift + m.sequence_in_path <= s.to_position
                      limit 1)
           end
    from copilot_internal.conversation_messages m, copilot_internal.conversation_paths p
    where m.id = p_message_id and m.tenant_id = p_tenant_id and p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.message_position(uuid, uuid, uuid) is
    'The effective number of a message along a path; NULL when the path does not show it. Run as the owner.';

create function copilot_internal.tokens_of(p_token_count integer, p_content text, p_parts jsonb) returns bigint
    language sql immutable
begin atomic
    select coalesce(p_token_count,
        (coalesce(pg_catalog.octet_length(p_content), 0) + coalesce(pg_catalog.octet_length(p_parts::text), 0))
            / 4)::bigint;
end;
comment on function copilot_internal.tokens_of(integer, text, jsonb) is
    'Tokens that a message with this count, content and parts counts as.';

create function copilot_internal.message_tokens(p_message copilot_internal.conversation_messages) returns bigint
    language sql immutable
begin atomic
    select copilot_internal.tokens_of((p_message).token_count, (p_message).content, (p_message).parts);
end;
comment on function copilot_internal.message_tokens(copilot_internal.conversation_messages) is
    'Tokens that a message counts as: the caller''s count, else a quarter of its octets.';

create function copilot_internal.open_counts(p_tenant_id uuid, p_path_id uuid)
    returns table (open_message_count integer, open_token_count bigint)
    language sql stable rows 1
begin atomic
    select greatest(coalesce((g.o).head_message_count, 0) + count(t.message), 0)::integer,
           greatest(coalesce((g.o).head_token_count, 0)
               + coalesce(sum(copilot_internal.message_tokens(t.message)), 0), 0)::bigint
    from (select copilot_internal.governing_operation(p_tenant_id, p_path_id) as o offset 0) g
    left join lateral (
        select l.message
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, coalesce((g.o).through_position, 0) + 1,
                                               2147483647) l
        where (l.message).deleted_at is null
    ) t on true
    group by g.o;
end;
comment on function copilot_internal.open_counts(uuid, uuid) is
    'How many messages and tokens a model is shown of a path now, counted from the rows. Run as the owner.';

-- The whole unit of a message: an assistant's row and the run of tool rows after it. A branch that begins within a run
-- goes on with it.
create function copilot_internal.unit_of(p_tenant_id uuid, p_message_id uuid) returns uuid[]
    language sql stable
begin atomic
    with recursive back as (
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role, 0 as away
        from copilot_internal.conversation_messages o where o.id = p_message_id and o.tenant_id = p_tenant_id
        union all
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role, b.away + 1
        from back b
        join copilot_internal.conversation_paths p on p.id = b.path_id and p.tenant_id = b.tenant_id
        join copilot_internal.conversation_messages o
          on o.path_id = case when b.sequence_in_path > 1 then b.path_id else p.parent_path_id end
         and o.tenant_id = b.tenant_id
         and o.sequence_in_path = case when b.sequence_in_path > 1 then b.sequence_in_path - 1
                                       else p.branch_sequence end
        where b.role = 'tool' and o.role in ('tool', 'assistant')
    ), forth as (
        (select b.id, b.path_id, b.tenant_id, b.sequence_in_path, b.role from back b order by b.away desc limit 1)
        union all
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role
        from forth f
        cross join lateral (
            select n.id, n.path_id, n.tenant_id, n.sequence_in_path, n.role
            from copilot_internal.conversation_messages n
            where n.path_id = f.path_id and n.tenant_id = f.tenant_id and n.sequence_in_path = f.sequence_in_path + 1
            union all
            select n.id, n.path_id, n.tenant_id, n.sequence_in_path, n.role
            from copilot_internal.conversation_paths c
            join copilot_internal.conversation_messages n
              on n.path_id = c.id and n.tenant_id = c.tenant_id and n.sequence_in_path = 1
            where c.parent_path_id = f.path_id and c.tenant_id = f.tenant_id
              and c.branch_sequence = f.sequence_in_path
        ) o
        where f.role in ('assistant', 'tool') and o.role = 'tool'
    )
    select coalesce(pg_catalog.array_agg(f.id), '{}') from forth f;
end;
comment on function copilot_internal.unit_of(uuid, uuid) is
    'The messages that are deleted with this one, itself among them, on whatever path. Run as the owner.';

create function copilot_internal.unit_on(p_tenant_id uuid, p_path_id uuid, p_message_id uuid) returns uuid[]
    language sql stable
begin atomic
    select coalesce(pg_catalog.array_agg(u.id), '{}')
    from pg_catalog.unnest(copilot_internal.unit_of(p_tenant_id, p_message_id)) u (id)
    where copilot_internal.message_position(p_tenant_id, p_path_id, u.id) is not null;
end;
comment on function copilot_internal.unit_on(uuid, uuid, uuid) is
    'The messages that a path keeps, pins or cuts with this one, itself among them. Run as the owner.';

create function copilot_internal.goes_on_at(p_tenant_id uuid, p_path_id uuid, p_position integer) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_roles text[];
begin
    v_roles := array(
        select (l.message).role
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, p_position - 1, p_position) l
        order by l.effective_position);
    return cardinality(v_roles) = 2 and v_roles[2] = 'tool' and v_roles[1] in ('assistant', 'tool');
end $$;
comment on function copilot_internal.goes_on_at(uuid, uuid, integer) is
    'Whether a message along a path belongs to the unit of the one before it. Run as the owner.';

create function copilot_internal.unit_range(
    p_tenant_id uuid, p_path_id uuid, p_position integer, out first_position integer, out last_position integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    first_position := p_position;
    last_position := p_position;
    while copilot_internal.goes_on_at(p_tenant_id, p_path_id, first_position) loop
        first_position := first_position - 1;
    end loop;
    while copilot_internal.goes_on_at(p_tenant_id, p_path_id, last_position + 1) loop
        last_position := last_position + 1;
    end loop;
end $$;
comment on function copilot_internal.unit_range(uuid, uuid, integer) is
    'From where to where the unit of a message reaches along a path. Run as the owner.';

create function copilot_internal.recount_path(p_tenant_id uuid, p_path_id uuid) returns void
    language sql volatile
begin atomic
    update copilot_internal.conversation_paths p
    set open_message_count = c.open_message_count, open_token_count = c.open_token_count
    from copilot_internal.open_counts(p_tenant_id, p_path_id) c
    where p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.recount_path(uuid, uuid) is
    'Counts again what a model is shown of a path. Its row is locked. Run as the owner.';

-- Of a message that is deleted or erased no model may be told by a summary. The paths are locked in their order.
create function copilot_internal.revert_operations(
    p_tenant_id uuid, p_path_id uuid, p_sequence integer, p_reason text, p_empty boolean) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_paths uuid[];
    v_path uuid;
    v_reverted integer;
begin
    -- What names no path is of the whole conversation.
    if p_empty then
        update copilot_internal.compaction_operations o
        set emptied_at = clock_timestamp(), metadata = '{}', error = null
        from copilot_internal.conversation_paths p
        where p.id = p_path_id and p.tenant_id = p_tenant_id and o.conversation_id = p.conversation_id
          and o.tenant_id = p_tenant_id and o.path_id is null;
    end if;
    v_paths := array(
        select l.id from (
            select p_path_id as id
            union
            select s.path_id from copilot_internal.conversation_paths o
            join copilot_internal.conversation_paths p
              on p.conversation_id = o.conversation_id and p.tenant_id = o.tenant_id
            join copilot_internal.conversation_path_segments s
              on s.path_id = p.id and s.tenant_id = p.tenant_id and s.source_path_id = p_path_id
             and s.shift + p_sequence <= s.to_position
            where o.id = p_path_id and o.tenant_id = p_tenant_id
        ) l order by l.id);
    perform from copilot_internal.conversation_paths p
    where p.id = any (v_paths) and p.tenant_id = p_tenant_id
      and (p_empty or p.id = p_path_id or exists (
          select from copilot_internal.compaction_operations o
          where o.path_id = p.id and o.tenant_id = p_tenant_id and o.state = 'applied'))
    order by p.id for no key update;
    with changed as (
        update copilot_internal.compaction_operations o
        set state = case o.state when 'applied' then 'reverted' else o.state end,
            reverted_at = case o.state when 'applied' then clock_timestamp() else o.reverted_at end,
            revert_reason = case o.state when 'applied' then p_reason else o.revert_reason end,
            emptied_at = case when p_empty then clock_timestamp() else o.emptied_at end,
            summary = case when not p_empty then o.summary end,
            summary_parts = case when not p_empty then o.summary_parts end,
            metadata = case when p_empty then '{}' else o.metadata end,
            error = case when not p_empty then o.error end
        where o.path_id = any (v_paths) and o.tenant_id = p_tenant_id
          and (o.state = 'applied' or p_empty)
          and (o.through_position >= copilot_internal.position_on(p_tenant_id, o.path_id, p_path_id, p_sequence)
               or o.through_position is null and p_empty)
        returning o.path_id, o.revert_reason = p_reason and o.reverted_at >= statement_timestamp() as now_reverted
    )
    select count(*) filter (where c.now_reverted) into v_reverted from changed c;
    if v_reverted > 0 then
        foreach v_path in array v_paths loop
            perform copilot_internal.recount_path(p_tenant_id, v_path);
        end loop;
    end if;
    return v_reverted;
end $$;
comment on function copilot_internal.revert_operations(uuid, uuid, integer, text, boolean) is
    'Reverts the operations that cover a message, given by the path that wrote it and its number there; on request '
    'empties them too. Returns how many it reverted. Run as the owner.';

create function copilot_internal.position_on(
    p_tenant_id uuid, p_path_id uuid, p_source_path_id uuid, p_sequence integer) returns integer
    language sql stable
begin atomic
    select case when p_path_id = p_source_path_id then p.inherited_count + p_sequence
                else (select s.shift + p_sequence from copilot_internal.conversation_path_segments s
                      where s.path_id = p_path_id and s.tenant_id = p_tenant_id
                        and s.source_path_id = p_source_path_id and s.shift + p_sequence <= s.to_position
                      limit 1)
           end
    from copilot_internal.conversation_paths p where p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.position_on(uuid, uuid, uuid, integer) is
    'The effective number that a message of another path has along this one; NULL when it is not shown. Run as the '
    'owner.';
