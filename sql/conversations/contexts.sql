-- Which nodes of the application's graph a conversation is about.

create table copilot_internal.conversation_contexts (
    conversation_id uuid not null,
    tenant_id uuid not null,
    active_node_ids text[] not null default '{}' check (pg_catalog.cardinality(active_node_ids) <= 1000),
    summary text check (pg_catalog.octet_length(summary) <= 262144),
    trace_id text check (pg_catalog.length(trace_id) <= 200),
    root_span_name text check (pg_catalog.length(root_span_name) <= 200),
    root_span_id text check (pg_catalog.length(root_span_id) <= 200),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (conversation_id, tenant_id),
    foreign key (conversation_id, tenant_id) references copilot_internal.conversations (id, tenant_id)
);
comment on table copilot_internal.conversation_contexts is
    'What a conversation is about: nodes of the application''s graph, and a summary.';
comment on column copilot_internal.conversation_contexts.conversation_id is 'The conversation.';
comment on column copilot_internal.conversation_contexts.tenant_id is 'The tenant.';
comment on column copilot_internal.conversation_contexts.active_node_ids is 'At most 1,000, the newest last.';
comment on column copilot_internal.conversation_contexts.summary is 'The application''s summary.';
comment on column copilot_internal.conversation_contexts.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.conversation_contexts.root_span_name is 'Name of its first span.';
comment on column copilot_internal.conversation_contexts.root_span_id is 'Its first span.';
comment on column copilot_internal.conversation_contexts.updated_at is 'When it was last changed.';
create trigger stamp_config before update on copilot_internal.conversation_contexts
    for each row execute function copilot_internal.stamp_config();

create view public.conversation_contexts_view with (security_invoker) as
    select x.conversation_id, x.tenant_id, x.active_node_ids, x.trace_id, x.root_span_name, x.root_span_id, x.summary,
           c.archived_at, x.updated_at
    from copilot_internal.conversation_contexts x
    join copilot_internal.conversations c on c.id = x.conversation_id and c.tenant_id = x.tenant_id;
comment on view public.conversation_contexts_view is 'What conversations are about, of those that the reader may read.';
comment on column public.conversation_contexts_view.archived_at is 'When the conversation was archived.';

-- The old ids and the new ones, each once, at its last place; the newest 1,000.
create function copilot_internal.merged_node_ids(p_old text[], p_new text[]) returns text[]
    language sql immutable
begin atomic
    select coalesce(pg_catalog.array_agg(k.id order by k.place), '{}')
    from (
        select n.id, max(n.place) as place
        from pg_catalog.unnest(p_old || p_new) with ordinality as n (id, place)
        group by n.id
        order by 2 desc
        limit 1000
    ) k;
end;
comment on function copilot_internal.merged_node_ids(text[], text[]) is
    'Both lists as one without repetition, the newest last, at most 1,000.';

create function copilot_internal.merge_conversation_context(
    p_tenant_id uuid, p_conversation_id uuid, p_node_ids text[], p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null)
    returns table (active_node_ids text[])
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('merge a context');
    if p_node_ids is null or cardinality(p_node_ids) > 1000
       or exists (select from unnest(p_node_ids) n (id) where n.id is null or length(n.id) not between 1 and 256)
    then
        raise exception 'p_node_ids must be at most 1,000 ids of 1 to 256 characters'
            using errcode = 'invalid_parameter_value';
    end if;
    if greatest(length(p_trace_id), length(p_root_span_name), length(p_root_span_id)) > 200 then
        raise exception 'trace columns have at most 200 characters' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    return query
        insert into copilot_internal.conversation_contexts as x
            (conversation_id, tenant_id, active_node_ids, trace_id, root_span_name, root_span_id)
        values (p_conversation_id, p_tenant_id, copilot_internal.merged_node_ids('{}', p_node_ids), p_trace_id,
                p_root_span_name, p_root_span_id)
        on conflict (conversation_id, tenant_id) do update
        set active_node_ids = copilot_internal.merged_node_ids(x.active_node_ids, p_node_ids),
            trace_id = coalesce(excluded.trace_id, x.trace_id),
            root_span_name = coalesce(excluded.root_span_name, x.root_span_name),
            root_span_id = coalesce(excluded.root_span_id, x.root_span_id)
        returning x.active_node_ids;
end $$;
comment on function copilot_internal.merge_conversation_context(uuid, uuid, text[], text, text, text) is
    'What public.merge_conversation_context does.';

create function public.merge_conversation_context(
    p_tenant_id uuid, p_conversation_id uuid, p_node_ids text[], p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null)
    returns table (active_node_ids text[])
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.merge_conversation_context(p_tenant_id, p_conversation_id, p_node_ids, p_trace_id,
        p_root_span_name, p_root_span_id);
end;
comment on function public.merge_conversation_context(uuid, uuid, text[], text, text, text) is
    'Adds nodes to what a conversation is about, in one step, so that none is lost: each once, the newest last, '
    'at most 1,000. For service_role.';
