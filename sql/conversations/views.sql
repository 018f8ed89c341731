-- The views that the application reads: with their reader's rights, so that row level security holds. Their first
-- columns are those of the application's own migrations.

create view public.conversations_view with (security_invoker) as
    select c.id, c.tenant_id, c.user_id, c.share_audience, c.tenant_access, c.authorization_model,
           c.authorization_spec, c.title, c.persona_id, c.jurisdictions, c.archived_at, c.trace_id, c.root_span_name,
           c.root_span_id, c.created_at, c.updated_at, c.last_message_at, c.active_path_id, c.effective_audience,
           c.activity_at, c.expires_at, c.metadata
    from copilot_internal.conversations c
    where c.erasing_at is null;
comment on view public.conversations_view is 'The conversations that the reader may read.';

-- By a conversation's id it enters through the index of paths.
create view public.conversation_messages_view with (security_invoker) as
    select m.id, p.conversation_id, m.tenant_id, m.user_id, m.role, m.content, m.metadata, m.trace_id,
           m.root_span_name, m.root_span_id, m.created_at, m.path_id, m.sequence_in_path,
           b.branches <> '{}' as is_branch_point, b.branches as branched_to_paths, m.message_type, m.is_pinned,
           m.pinned_at, m.pinned_by, m.finished_at, m.parts, m.token_count
    from copilot_internal.conversation_paths p
    join copilot_internal.conversation_messages m on m.path_id = p.id and m.tenant_id = p.tenant_id
    cross join lateral (
        select array(select n.id from copilot_internal.conversation_paths n
                     where n.parent_path_id = m.path_id and n.tenant_id = m.tenant_id
                       and n.branch_sequence = m.sequence_in_path
                     order by n.created_at, n.id) as branches
    ) b
    where m.deleted_at is null;
comment on view public.conversation_messages_view is
    'The messages that the reader may read, each on the path that wrote it; deleted ones are left out.';

create view public.conversation_paths_view with (security_invoker) as
    select p.id, p.conversation_id, p.tenant_id, p.parent_path_id, p.branch_point_message_id, p.name, p.description,
           p.is_primary, p.is_active, p.merged_to_path_id, p.merged_at, p.merge_summary_message_id, p.merge_mode,
           p.created_at, p.updated_at, p.last_sequence::bigint as message_count,
           (select count(*) from copilot_internal.conversation_paths c
            where c.conversation_id = p.conversation_id and c.tenant_id = p.tenant_id and c.parent_path_id = p.id
              and c.is_active) as branch_count,
           p.branch_sequence, p.inherited_count, p.depth, p.archived_at, p.last_message_at
    from copilot_internal.conversation_paths p;
comment on view public.conversation_paths_view is
    'The paths that the reader may read. message_count is of their own messages, branch_count of active branches.';

create function public.current_tenant_id() returns uuid
    language sql stable
begin atomic
    select public.get_current_tenant_id();
end;
comment on function public.current_tenant_id() is
    'The tenant that the user works in, as get_current_tenant_id gives it; never what user_metadata says.';

create function copilot_internal.conversation_store_healthcheck()
    returns table (table_name text, rls_enabled boolean, policy_count integer)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select c.relname::text, c.relrowsecurity,
           (select count(*)::integer from pg_catalog.pg_policy p where p.polrelid = c.oid)
    from pg_catalog.pg_class c
    where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r'
      and c.relname in ('conversations', 'conversation_paths', 'conversation_messages', 'conversation_contexts',
                        'conversation_configs', 'execution_contexts', 'compaction_operations')
    order by c.relname;
$$;
comment on function copilot_internal.conversation_store_healthcheck() is
    'Whether row level security protects the tables of conversations, which the application asks when it starts.';
