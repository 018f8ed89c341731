-- What is granted on, and which rows are shown of, the tables and functions of contexts, configs, compaction, execution
-- contexts, retention, erasure and metrics. Read by grants.sql.

create function copilot_internal.upkeep_grants()
    returns table (privileges text, object text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        -- Read by people through row level security, but for what a summary and its kept messages tell.
        ('select', 'copilot_internal.conversation_configs, copilot_internal.conversation_contexts, '
            'public.conversation_contexts_view', array['authenticated', 'service_role']),
        ('select (id, "timestamp", conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, '
            'tokens_before, tokens_after, tokens_saved, messages_before, messages_after, messages_removed, '
            'messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd, compression_ratio, success, '
            'state, through_position, base_operation_id, cost_record_id, applied_at, reverted_at, reverted_by, '
            'revert_reason)',
            'copilot_internal.compaction_operations', array['authenticated']),
        ('select', 'copilot_internal.compaction_operations, copilot_internal.execution_contexts, '
            'copilot_internal.conversation_erasures, public.execution_contexts_view', array['service_role']),
        -- The application's own stores write these; the rest is written by the functions alone.
        ('insert, update, delete', 'copilot_internal.conversation_configs', array['service_role']),
        ('insert, update', 'copilot_internal.conversation_contexts', array['service_role']),
        ('insert (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at, user_id, sandbox_type, '
            'region, resource_usage, trace_id, span_id), '
            'update (sandbox_status, terminated_at, error_message, resource_usage)',
            'copilot_internal.execution_contexts', array['service_role']),
        ('select', 'metrics.conversations, metrics.cost_by_path, metrics.compaction_operations, '
            'metrics.execution_contexts', array['authenticated', 'service_role', 'metrics_reader']),
        ('execute', 'function '
            'public.merge_conversation_context(uuid, uuid, text[], text, text, text), '
            'copilot_internal.merge_conversation_context(uuid, uuid, text[], text, text, text), '
            'public.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, integer, '
            'integer, uuid, text, integer, uuid, text, jsonb, integer), '
            'copilot_internal.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, '
            'integer, integer, uuid, text, integer, uuid, text, jsonb, integer), '
            'public.get_conversations_needing_compaction(integer, timestamptz, timestamptz, integer, '
            'integer), '
            'copilot_internal.get_conversations_needing_compaction(integer, timestamptz, timestamptz, '
            'integer, integer), public.claim_paths_for_compaction(integer, interval, integer, bigint, '
            'timestamptz, timestamptz), copilot_internal.claim_paths_for_compaction(integer, interval, '
            'integer, bigint, timestamptz, timestamptz), public.record_compaction_operation(uuid, uuid, '
            'uuid, uuid, text, text, integer, integer, integer, integer, integer, integer, integer, '
            'boolean, numeric, boolean, text, jsonb), copilot_internal.record_compaction_operation(uuid, '
            'uuid, uuid, uuid, text, text, integer, integer, integer, integer, integer, integer, '
            'integer, boolean, numeric, boolean, text, jsonb), public.acquire_execution_context(uuid, '
            'uuid, uuid, uuid, text, text, interval, numeric, text, text, text), '
            'copilot_internal.acquire_execution_context(uuid, uuid, uuid, uuid, text, text, interval, '
            'numeric, text, text, text), public.activate_execution_context(uuid, text), '
            'copilot_internal.activate_execution_context(uuid, text), '
            'public.touch_execution_context(uuid, integer), '
            'copilot_internal.touch_execution_context(uuid, integer), '
            'public.terminate_execution_context(uuid, text), '
            'copilot_internal.terminate_execution_context(uuid, text), '
            'public.fail_execution_context(uuid, text), copilot_internal.fail_execution_context(uuid, '
            'text), public.claim_expired_execution_contexts(integer, interval), '
            'copilot_internal.claim_expired_execution_contexts(integer, interval), '
            'public.get_expired_execution_contexts(integer), '
            'copilot_internal.get_expired_execution_contexts(integer), '
            'public.cleanup_old_terminated_contexts(integer, integer), '
            'copilot_internal.cleanup_old_terminated_contexts(integer, integer), '
            'public.release_execution_context(uuid, numeric, numeric, numeric), '
            'copilot_internal.release_execution_context(uuid, numeric, numeric, numeric), '
            'public.export_user_conversations(uuid, uuid, text, integer), '
            'copilot_internal.export_user_conversations(uuid, uuid, text, integer), '
            'public.verify_conversations(uuid, integer), copilot_internal.verify_conversations(uuid, '
            'integer), public.maintain_conversations(integer), '
            'copilot_internal.maintain_conversations(integer)',
            array['service_role']),
        ('execute', 'function '
            'public.archive_conversation(uuid, uuid, boolean, uuid), '
            'copilot_internal.archive_conversation(uuid, uuid, boolean, uuid), '
            'public.erase_conversation(uuid, uuid, uuid), copilot_internal.erase_conversation(uuid, '
            'uuid, uuid), public.erase_message(uuid, uuid, uuid, uuid), '
            'copilot_internal.erase_message(uuid, uuid, uuid, uuid), '
            'public.erase_user_conversations(uuid, uuid), '
            'copilot_internal.erase_user_conversations(uuid, uuid), '
            'public.get_compaction_metrics(timestamptz, timestamptz, uuid), '
            'copilot_internal.get_compaction_metrics(timestamptz, timestamptz, uuid), '
            'public.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid), '
            'copilot_internal.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid), '
            'public.get_effective_conversation_config(uuid, uuid), '
            'copilot_internal.get_effective_conversation_config(uuid, uuid), '
            'public.get_recent_compaction_operations(integer, uuid), '
            'copilot_internal.get_recent_compaction_operations(integer, uuid), '
            'public.revert_compaction(uuid, uuid, uuid), copilot_internal.revert_compaction(uuid, uuid, '
            'uuid), public.set_conversation_config(text, uuid, uuid, jsonb, uuid), '
            'copilot_internal.set_conversation_config(text, uuid, uuid, jsonb, uuid)',
            array['authenticated', 'service_role'])
    ) as g (privileges, object, roles)
$$;
comment on function copilot_internal.upkeep_grants() is
    'What grant_conversation_roles() grants of contexts and upkeep.';

-- The filter is of the policy for authenticated; without, people see nothing.
create function copilot_internal.upkeep_policies() returns table (name text, filter text)
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        ('conversation_configs', 'config_level = ''global'' or tenant_id = any ('
            '(select copilot_internal.caller_tenants())::uuid[]) '
            'and (config_level = ''tenant'' or user_id = (select copilot_internal.caller_user()))'),
        ('conversation_contexts', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_contexts.tenant_id)'),
        ('compaction_operations', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = compaction_operations.tenant_id)'),
        ('execution_contexts', null),
        ('conversation_erasures', null)
    ) as p (name, filter)
$$;
comment on function copilot_internal.upkeep_policies() is 'The tables of contexts and upkeep, with what people see.';
