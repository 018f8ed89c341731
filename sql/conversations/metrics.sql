-- Figures of conversations. As all views of metrics they run with their owner's rights and filter inside.

create view metrics.conversations with (security_barrier) as
    select c.tenant_id, count(*) as conversation_count,
           count(*) filter (where c.archived_at is not null) as archived_count,
           count(*) filter (where c.effective_audience <> 'private') as shared_count,
           coalesce(sum(p.paths), 0)::bigint as path_count, coalesce(sum(p.messages), 0)::bigint as message_count,
           coalesce(sum(p.tokens), 0)::bigint as token_count, max(c.last_message_at) as last_message_at
    from copilot_internal.conversations c
    left join (
        select p.conversation_id, p.tenant_id, count(*) as paths, sum(p.last_sequence) as messages,
               sum(p.open_token_count) as tokens
        from copilot_internal.conversation_paths p
        where (select copilot_internal.caller_sees_all())
           or p.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
        group by p.conversation_id, p.tenant_id
    ) p on p.conversation_id = c.id and p.tenant_id = c.tenant_id
    where c.erasing_at is null
      and ((select copilot_internal.caller_sees_all())
           or c.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]))
    group by c.tenant_id;
comment on view metrics.conversations is 'Conversations by tenant.';
comment on column metrics.conversations.tenant_id is 'The tenant.';
comment on column metrics.conversations.conversation_count is 'Conversations, archived ones too.';
comment on column metrics.conversations.archived_count is 'Archived among them.';
comment on column metrics.conversations.shared_count is 'Those that others may read.';
comment on column metrics.conversations.path_count is 'Paths.';
comment on column metrics.conversations.message_count is 'Messages, each under the path that wrote it.';
comment on column metrics.conversations.token_count is 'Tokens that a model is shown of the paths now.';
comment on column metrics.conversations.last_message_at is 'When the latest was written.';

-- A plain member sees paths that they may read; owners and admins all of the tenant.
create view metrics.cost_by_path with (security_barrier) as
    select l.tenant_id, nullif(l.conversation_id, '00000000-0000-0000-0000-000000000000') as conversation_id, l.path_id,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0)::bigint as llm_request_count,
           coalesce(max(s.sessions), 0)::bigint as e2b_session_count, sum(l.unpriced_count)::bigint as unpriced_count
    from copilot_internal.visible_conversation_lines l
    left join (
        select v.tenant_id, coalesce(v.conversation_id, '00000000-0000-0000-0000-000000000000') as conversation_id,
               v.path_id, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v
        where v.path_id is not null
        group by 1, 2, 3
    ) s on s.tenant_id = l.tenant_id and s.conversation_id = l.conversation_id and s.path_id = l.path_id
    where l.path_id <> '00000000-0000-0000-0000-000000000000'
      and ((select copilot_internal.caller_sees_all())
           or copilot_internal.caller_sees_costs_of(l.tenant_id, l.conversation_id))
    group by l.tenant_id, l.conversation_id, l.path_id;
comment on view metrics.cost_by_path is
    'Costs by path, all time, net of corrections. A member sees paths that they may read, owners and admins all.';
comment on column metrics.cost_by_path.tenant_id is 'The tenant.';
comment on column metrics.cost_by_path.conversation_id is 'The conversation.';
comment on column metrics.cost_by_path.path_id is 'The path.';
comment on column metrics.cost_by_path.llm_cost is 'USD for LLM calls with a price.';
comment on column metrics.cost_by_path.e2b_cost is 'USD for sandbox sessions with a price.';
comment on column metrics.cost_by_path.total_cost is 'USD in all.';
comment on column metrics.cost_by_path.llm_request_count is 'LLM calls.';
comment on column metrics.cost_by_path.e2b_session_count is 'Sandbox sessions.';
comment on column metrics.cost_by_path.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.compaction_operations with (security_barrier) as
    select o.tenant_id, (o.timestamp at time zone 'UTC')::date as day, o.strategy, o.triggered_by,
           count(*) as operations, count(*) filter (where o.success) as successful,
           count(*) filter (where not o.success) as failed, count(*) filter (where o.state = 'reverted') as reverted,
           coalesce(sum(o.tokens_saved), 0) as tokens_saved, coalesce(sum(o.messages_removed), 0) as messages_removed,
           coalesce(sum(o.messages_summarized), 0) as messages_summarized,
           avg(o.compression_ratio) as avg_compression_ratio, avg(o.duration_ms) as avg_duration_ms,
           pg_catalog.trim_scale(coalesce(sum(o.cost_usd), 0)) as cost_usd
    from copilot_internal.compaction_operations o
    where (select copilot_internal.caller_sees_all())
       or o.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    group by o.tenant_id, (o.timestamp at time zone 'UTC')::date, o.strategy, o.triggered_by;
comment on view metrics.compaction_operations is 'Compactions by tenant, UTC day and strategy.';
comment on column metrics.compaction_operations.tenant_id is 'The tenant.';
comment on column metrics.compaction_operations.day is 'The UTC day.';
comment on column metrics.compaction_operations.strategy is 'The strategy.';
comment on column metrics.compaction_operations.triggered_by is 'manual or auto.';
comment on column metrics.compaction_operations.operations is 'How many.';
comment on column metrics.compaction_operations.successful is 'Those that succeeded.';
comment on column metrics.compaction_operations.failed is 'Those that failed or would have made nothing smaller.';
comment on column metrics.compaction_operations.reverted is 'Those that were taken back.';
comment on column metrics.compaction_operations.tokens_saved is 'Tokens that models are no longer shown.';
comment on column metrics.compaction_operations.messages_removed is 'Messages that models are no longer shown.';
comment on column metrics.compaction_operations.messages_summarized is 'Messages that summaries stand for.';
comment on column metrics.compaction_operations.avg_compression_ratio is 'Tokens after by tokens before.';
comment on column metrics.compaction_operations.avg_duration_ms is 'Milliseconds that one took.';
comment on column metrics.compaction_operations.cost_usd is 'USD that the models'' calls cost.';

create view metrics.execution_contexts with (security_barrier) as
    select x.tenant_id, count(*) filter (where x.is_creating) as creating,
           count(*) filter (where x.is_open and not x.is_creating and x.expires_at > x.now) as ready,
           count(*) filter (where x.is_open and x.expires_at <= x.now) as expired_unended,
           count(*) filter (where not x.is_open and x.released_at is null) as ended_unreleased,
           count(*) filter (where x.termination_reason = 'orphan' and x.released_at is null) as orphans,
           max(extract(epoch from x.now - x.terminated_at)) filter (where not x.is_open and x.released_at is null)
               as oldest_unreleased_seconds,
           count(*) filter (where x.released_at >= x.today) as released_today,
           coalesce(sum(x.duration_seconds) filter (where x.released_at >= x.today), 0) as sandbox_seconds_today,
           pg_catalog.trim_scale(coalesce(sum(h.reserved_usd), 0)) as reserved_usd
    from (
        select c.*, c.terminated_at is null as is_open,
               c.terminated_at is null and c.sandbox_status = 'creating' as is_creating,
               pg_catalog.clock_timestamp() as now,
               pg_catalog.date_trunc('day', pg_catalog.clock_timestamp(), 'UTC') as today
        from copilot_internal.execution_contexts c
        where (select copilot_internal.caller_sees_all())
           or c.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) x
    left join copilot_internal.quota_reservations h
      on h.id = x.reservation_id and h.tenant_id = x.tenant_id and h.state = 'held' and h.expires_at > x.now
    group by x.tenant_id;
comment on view metrics.execution_contexts is 'Sandboxes by tenant, now.';
comment on column metrics.execution_contexts.tenant_id is 'The tenant.';
comment on column metrics.execution_contexts.creating is 'Being created.';
comment on column metrics.execution_contexts.ready is 'In use.';
comment on column metrics.execution_contexts.expired_unended is 'Past their time: no killer has come yet.';
comment on column metrics.execution_contexts.ended_unreleased is 'Ended, and neither killed nor billed yet.';
comment on column metrics.execution_contexts.orphans is 'Sandboxes among these that came too late for their context.';
comment on column metrics.execution_contexts.oldest_unreleased_seconds is 'Since when the oldest of them waits.';
comment on column metrics.execution_contexts.released_today is 'Billed on this UTC day.';
comment on column metrics.execution_contexts.sandbox_seconds_today is 'Seconds that were billed on it.';
comment on column metrics.execution_contexts.reserved_usd is 'USD that they set aside.';
