-- What people see. The views run with the owner's rights, so that a reader of metrics needs nothing beneath it. What a
-- reader sees is filtered inside, by the role that asks: everything for service_role, metrics_reader and roles that
-- pass by row level security, the tenants of which the claims' user is an active member for any other. Each arm is
-- switched off whole where it does not apply, so that a member's query uses the tenant's index.
--
-- A UNION ALL is never the outermost of a view: the planner takes it apart, security barrier or not, and runs the
-- reader's own conditions on rows before the view's filter. One level further in it is behind the barrier, through
-- which conditions go only when they are leakproof, as comparisons of ids are.

-- Joined, not summed: there is one rollup of each name, and mostly nothing pending. The platform's own rows are in the
-- arm of those whose tenants are known, so that a tenant that a reader names is looked up by index.
create view copilot_internal.visible_totals with (security_barrier) as
    select v.*
    from (
        select tenant_id, source, provider, name,
               case when p.tenant_id is null then r.cost_usd
                    else coalesce(r.cost_usd, 0) + p.cost_usd end as cost_usd,
               case when p.tenant_id is null then r.record_count::numeric
                    else coalesce(r.record_count, 0) + p.record_count end as record_count,
               case when p.tenant_id is null then r.unpriced_count::numeric
                    else coalesce(r.unpriced_count, 0) + p.unpriced_count end as unpriced_count,
               case when p.tenant_id is null then r.input_tokens
                    else coalesce(r.input_tokens, 0) + p.input_tokens end as input_tokens,
               case when p.tenant_id is null then r.output_tokens
                    else coalesce(r.output_tokens, 0) + p.output_tokens end as output_tokens,
               case when p.tenant_id is null then r.duration_seconds
                    else coalesce(r.duration_seconds, 0) + p.duration_seconds end as duration_seconds
        from copilot_internal.total_rollups r
        full join (
            select p.tenant_id, p.source, p.provider, p.name, sum(p.cost_usd) as cost_usd,
                   sum(p.record_count) as record_count, sum(p.unpriced_count) as unpriced_count,
                   sum(p.input_tokens) as input_tokens, sum(p.output_tokens) as output_tokens,
                   sum(p.duration_seconds) as duration_seconds
            from copilot_internal.pending_lines p
            group by p.tenant_id, p.source, p.provider, p.name
        ) p using (tenant_id, source, provider, name)
        where (select copilot_internal.caller_sees_all()) and tenant_id <> '00000000-0000-0000-0000-000000000000'
        union all
        select nullif(l.tenant_id, '00000000-0000-0000-0000-000000000000'), l.source, l.provider, l.name, l.cost_usd,
               l.record_count, l.unpriced_count, l.input_tokens, l.output_tokens, l.duration_seconds
        from pg_catalog.unnest(case when (select copilot_internal.caller_sees_all())
                 then array['00000000-0000-0000-0000-000000000000'::uuid]
                 else (select copilot_internal.caller_tenants())::uuid[] end) as m (id)
        cross join lateral (
            select tenant_id, source, provider, name,
                   case when p.tenant_id is null then r.cost_usd
                        else coalesce(r.cost_usd, 0) + p.cost_usd end as cost_usd,
                   case when p.tenant_id is null then r.record_count::numeric
                        else coalesce(r.record_count, 0) + p.record_count end as record_count,
                   case when p.tenant_id is null then r.unpriced_count::numeric
                        else coalesce(r.unpriced_count, 0) + p.unpriced_count end as unpriced_count,
                   case when p.tenant_id is null then r.input_tokens
                        else coalesce(r.input_tokens, 0) + p.input_tokens end as input_tokens,
                   case when p.tenant_id is null then r.output_tokens
                        else coalesce(r.output_tokens, 0) + p.output_tokens end as output_tokens,
                   case when p.tenant_id is null then r.duration_seconds
                        else coalesce(r.duration_seconds, 0) + p.duration_seconds end as duration_seconds
            from copilot_internal.total_rollups r
            full join (
                select p.tenant_id, p.source, p.provider, p.name, sum(p.cost_usd) as cost_usd,
                       sum(p.record_count) as record_count, sum(p.unpriced_count) as unpriced_count,
                       sum(p.input_tokens) as input_tokens, sum(p.output_tokens) as output_tokens,
                       sum(p.duration_seconds) as duration_seconds
                from copilot_internal.pending_lines p
                group by p.tenant_id, p.source, p.provider, p.name
            ) p using (tenant_id, source, provider, name)
            where tenant_id = m.id
            offset 0
        ) l
    ) v;
comment on view copilot_internal.visible_totals is
    'Costs by model or sandbox type, all time, one row for each, that the asking role may see; a NULL tenant is the '
    'platform alone.';

create view copilot_internal.visible_daily_lines with (security_barrier) as
    select v.*
    from (
        select l.tenant_id, l.day, l.source, l.provider, l.name, l.cost_usd, l.record_count, l.unpriced_count,
               l.input_tokens, l.output_tokens, l.duration_seconds
        from copilot_internal.daily_lines l
        where (select copilot_internal.caller_sees_all()) and l.tenant_id <> '00000000-0000-0000-0000-000000000000'
        union all
        select null, l.day, l.source, l.provider, l.name, l.cost_usd, l.record_count, l.unpriced_count, l.input_tokens,
               l.output_tokens, l.duration_seconds
        from copilot_internal.daily_lines l
        where (select copilot_internal.caller_sees_all()) and l.tenant_id = '00000000-0000-0000-0000-000000000000'
        union all
        select l.tenant_id, l.day, l.source, l.provider, l.name, l.cost_usd, l.record_count, l.unpriced_count,
               l.input_tokens, l.output_tokens, l.duration_seconds
        from copilot_internal.daily_lines l
        where not (select copilot_internal.caller_sees_all())
          and l.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) v;
comment on view copilot_internal.visible_daily_lines is
    'daily_lines that the asking role may see; a NULL tenant is the platform alone.';

create view copilot_internal.visible_user_lines with (security_barrier) as
    select v.*
    from (
        select l.tenant_id, l.user_id, l.source, l.cost_usd, l.record_count, l.unpriced_count
        from copilot_internal.user_lines l
        where (select copilot_internal.caller_sees_all()) and l.tenant_id <> '00000000-0000-0000-0000-000000000000'
        union all
        select null, l.user_id, l.source, l.cost_usd, l.record_count, l.unpriced_count
        from copilot_internal.user_lines l
        where (select copilot_internal.caller_sees_all()) and l.tenant_id = '00000000-0000-0000-0000-000000000000'
        union all
        select l.tenant_id, l.user_id, l.source, l.cost_usd, l.record_count, l.unpriced_count
        from copilot_internal.user_lines l
        where not (select copilot_internal.caller_sees_all())
          and l.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) v;
comment on view copilot_internal.visible_user_lines is
    'user_lines that the asking role may see; a NULL tenant is the platform alone.';

create view copilot_internal.visible_conversation_lines with (security_barrier) as
    select v.*
    from (
        select l.tenant_id, l.conversation_id, l.path_id, l.source, l.cost_usd, l.record_count, l.unpriced_count
        from copilot_internal.conversation_lines l
        where (select copilot_internal.caller_sees_all())
        union all
        select l.tenant_id, l.conversation_id, l.path_id, l.source, l.cost_usd, l.record_count, l.unpriced_count
        from copilot_internal.conversation_lines l
        where not (select copilot_internal.caller_sees_all())
          and l.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) v;
comment on view copilot_internal.visible_conversation_lines is 'conversation_lines that the asking role may see.';

create view copilot_internal.visible_sandboxes with (security_barrier) as
    select v.*
    from (
        select r.tenant_id, (r.occurred_at at time zone 'UTC')::date as day, r.sandbox_type,
               coalesce(r.user_id, '00000000-0000-0000-0000-000000000000') as user_id, r.conversation_id,
               r.path_id, coalesce(pg_catalog.lower(r.provider) || '/' || r.sandbox_id, r.id::text) as sandbox
        from copilot_internal.e2b_cost_records r
        where (select copilot_internal.caller_sees_all())
        union all
        select r.tenant_id, (r.occurred_at at time zone 'UTC')::date, r.sandbox_type,
               coalesce(r.user_id, '00000000-0000-0000-0000-000000000000'), r.conversation_id,
               r.path_id, coalesce(pg_catalog.lower(r.provider) || '/' || r.sandbox_id, r.id::text)
        from copilot_internal.e2b_cost_records r
        where not (select copilot_internal.caller_sees_all())
          and r.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) v;
comment on view copilot_internal.visible_sandboxes is
    'Which sandboxes the records are of that the asking role may see: one that is recorded from time to time is one '
    'session.';
comment on column copilot_internal.visible_sandboxes.day is 'The UTC day.';
comment on column copilot_internal.visible_sandboxes.user_id is 'The user; the nil UUID for none.';
comment on column copilot_internal.visible_sandboxes.sandbox is
    'The provider''s sandbox; a record without one is a sandbox of its own.';

create view metrics.llm_costs with (security_barrier) as
    select l.tenant_id, l.provider as model_provider, l.name as model_name,
           case when l.unpriced_count < l.record_count then pg_catalog.trim_scale(l.cost_usd) end as total_cost,
           l.input_tokens as total_input_tokens, l.output_tokens as total_output_tokens,
           l.record_count as request_count, l.unpriced_count
    from copilot_internal.visible_totals l
    where l.source = 'llm';
comment on view metrics.llm_costs is 'LLM costs by tenant and model, all time.';
comment on column metrics.llm_costs.tenant_id is 'The tenant.';
comment on column metrics.llm_costs.model_provider is 'The provider.';
comment on column metrics.llm_costs.model_name is 'The model.';
comment on column metrics.llm_costs.total_cost is 'USD; NULL when no record has a price.';
comment on column metrics.llm_costs.total_input_tokens is 'Input tokens, cached ones included.';
comment on column metrics.llm_costs.total_output_tokens is 'Output tokens, reasoning included.';
comment on column metrics.llm_costs.request_count is 'Calls.';
comment on column metrics.llm_costs.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.e2b_costs with (security_barrier) as
    select l.tenant_id, l.name as sandbox_type,
           case when l.unpriced_count < l.record_count then pg_catalog.trim_scale(l.cost_usd) end as total_cost,
           pg_catalog.trim_scale(l.duration_seconds) as total_duration,
           coalesce(s.sessions, 0)::numeric as session_count, l.unpriced_count
    from copilot_internal.visible_totals l
    left join (
        select v.tenant_id, v.sandbox_type, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v group by v.tenant_id, v.sandbox_type
    ) s on s.tenant_id = l.tenant_id and s.sandbox_type = l.name
    where l.source = 'e2b';
comment on view metrics.e2b_costs is 'Sandbox costs by tenant and sandbox type, all time.';
comment on column metrics.e2b_costs.tenant_id is 'The tenant.';
comment on column metrics.e2b_costs.sandbox_type is 'The sandbox type.';
comment on column metrics.e2b_costs.total_cost is 'USD; NULL when no record has a price.';
comment on column metrics.e2b_costs.total_duration is 'Seconds.';
comment on column metrics.e2b_costs.session_count is
    'Sandboxes: a further record of one adds cost and seconds, not a session.';
comment on column metrics.e2b_costs.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.llm_costs_daily with (security_barrier) as
    select l.tenant_id, l.day as date, l.provider as model_provider, l.name as model_name,
           case when sum(l.unpriced_count) < sum(l.record_count)
                then pg_catalog.trim_scale(sum(l.cost_usd)) end as total_cost,
           sum(l.input_tokens) as total_input_tokens, sum(l.output_tokens) as total_output_tokens,
           sum(l.record_count) as request_count, sum(l.unpriced_count) as unpriced_count
    from copilot_internal.visible_daily_lines l
    where l.source = 'llm'
    group by l.tenant_id, l.day, l.provider, l.name;
comment on view metrics.llm_costs_daily is 'LLM costs by tenant, UTC day and model.';
comment on column metrics.llm_costs_daily.tenant_id is 'The tenant.';
comment on column metrics.llm_costs_daily.date is 'The UTC day on which it occurred.';
comment on column metrics.llm_costs_daily.model_provider is 'The provider.';
comment on column metrics.llm_costs_daily.model_name is 'The model.';
comment on column metrics.llm_costs_daily.total_cost is 'USD; NULL when no record has a price.';
comment on column metrics.llm_costs_daily.total_input_tokens is 'Input tokens, cached ones included.';
comment on column metrics.llm_costs_daily.total_output_tokens is 'Output tokens, reasoning included.';
comment on column metrics.llm_costs_daily.request_count is 'Calls.';
comment on column metrics.llm_costs_daily.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.e2b_costs_daily with (security_barrier) as
    select l.tenant_id, l.day as date, l.name as sandbox_type,
           case when sum(l.unpriced_count) < sum(l.record_count)
                then pg_catalog.trim_scale(sum(l.cost_usd)) end as total_cost,
           pg_catalog.trim_scale(sum(l.duration_seconds)) as total_duration,
           coalesce(max(s.sessions), 0)::numeric as session_count,
           sum(l.unpriced_count) as unpriced_count
    from copilot_internal.visible_daily_lines l
    left join (
        select v.tenant_id, v.day, v.sandbox_type, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v group by v.tenant_id, v.day, v.sandbox_type
    ) s on s.tenant_id = l.tenant_id and s.day = l.day and s.sandbox_type = l.name
    where l.source = 'e2b'
    group by l.tenant_id, l.day, l.name;
comment on view metrics.e2b_costs_daily is 'Sandbox costs by tenant, UTC day and sandbox type.';
comment on column metrics.e2b_costs_daily.tenant_id is 'The tenant.';
comment on column metrics.e2b_costs_daily.date is 'The UTC day on which it occurred.';
comment on column metrics.e2b_costs_daily.sandbox_type is 'The sandbox type.';
comment on column metrics.e2b_costs_daily.total_cost is 'USD; NULL when no record has a price.';
comment on column metrics.e2b_costs_daily.total_duration is 'Seconds.';
comment on column metrics.e2b_costs_daily.session_count is
    'Sandboxes that ran on the day; one that ran on two days is one on each.';
comment on column metrics.e2b_costs_daily.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.cost_by_user with (security_barrier) as
    select l.tenant_id, nullif(l.user_id, '00000000-0000-0000-0000-000000000000') as user_id,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'charge'), 0)) as other_cost,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0) as llm_request_count,
           coalesce(max(s.sessions), 0)::numeric as e2b_session_count,
           sum(l.unpriced_count) as unpriced_count
    from copilot_internal.visible_user_lines l
    left join (
        select v.tenant_id, v.user_id, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v group by v.tenant_id, v.user_id
    ) s on s.tenant_id = l.tenant_id and s.user_id = l.user_id
    where (select copilot_internal.caller_sees_all())
       or l.user_id in ((select copilot_internal.caller_user()), '00000000-0000-0000-0000-000000000000')
       or l.tenant_id = any ((select copilot_internal.caller_open_tenants())::uuid[])
    group by l.tenant_id, l.user_id;
comment on view metrics.cost_by_user is
    'Costs by tenant and user, all time. What no user was named for has a NULL user_id. A member sees their own, '
    'owners and admins all, and every member where the tenant''s settings say share_details.';
comment on column metrics.cost_by_user.tenant_id is 'The tenant.';
comment on column metrics.cost_by_user.user_id is 'The user, or NULL.';
comment on column metrics.cost_by_user.llm_cost is 'USD for LLM calls with a price.';
comment on column metrics.cost_by_user.e2b_cost is 'USD for sandbox sessions with a price.';
comment on column metrics.cost_by_user.other_cost is 'USD charged without a record.';
comment on column metrics.cost_by_user.total_cost is 'USD in all.';
comment on column metrics.cost_by_user.llm_request_count is 'LLM calls.';
comment on column metrics.cost_by_user.e2b_session_count is 'Sandbox sessions.';
comment on column metrics.cost_by_user.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.cost_by_conversation with (security_barrier) as
    select l.tenant_id, l.conversation_id,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0) as llm_request_count,
           coalesce(max(s.sessions), 0)::numeric as e2b_session_count,
           sum(l.unpriced_count) as unpriced_count
    from copilot_internal.visible_conversation_lines l
    left join (
        select v.tenant_id, v.conversation_id, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v group by v.tenant_id, v.conversation_id
    ) s on s.tenant_id = l.tenant_id and s.conversation_id = l.conversation_id
    where l.conversation_id <> '00000000-0000-0000-0000-000000000000'
      and ((select copilot_internal.caller_sees_all())
           or copilot_internal.caller_sees_costs_of(l.tenant_id, l.conversation_id))
    group by l.tenant_id, l.conversation_id;
comment on view metrics.cost_by_conversation is
    'Costs by tenant and conversation, all time. A member sees conversations that they may read, owners and admins '
    'all.';
comment on column metrics.cost_by_conversation.tenant_id is 'The tenant.';
comment on column metrics.cost_by_conversation.conversation_id is 'The conversation.';
comment on column metrics.cost_by_conversation.llm_cost is 'USD for LLM calls with a price.';
comment on column metrics.cost_by_conversation.e2b_cost is 'USD for sandbox sessions with a price.';
comment on column metrics.cost_by_conversation.total_cost is 'USD in all.';
comment on column metrics.cost_by_conversation.llm_request_count is 'LLM calls.';
comment on column metrics.cost_by_conversation.e2b_session_count is 'Sandbox sessions.';
comment on column metrics.cost_by_conversation.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.tenant_total_costs with (security_barrier) as
    select l.tenant_id,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'charge'), 0)) as other_cost,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0) as llm_request_count,
           coalesce(max(s.sessions), 0)::numeric as e2b_session_count,
           sum(l.unpriced_count) as unpriced_count
    from copilot_internal.visible_totals l
    left join (
        select v.tenant_id, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v group by v.tenant_id
    ) s on s.tenant_id = l.tenant_id
    group by l.tenant_id;
comment on view metrics.tenant_total_costs is 'Costs by tenant, all time.';
comment on column metrics.tenant_total_costs.tenant_id is 'The tenant.';
comment on column metrics.tenant_total_costs.llm_cost is 'USD for LLM calls with a price.';
comment on column metrics.tenant_total_costs.e2b_cost is 'USD for sandbox sessions with a price.';
comment on column metrics.tenant_total_costs.other_cost is 'USD charged without a record.';
comment on column metrics.tenant_total_costs.total_cost is 'USD in all.';
comment on column metrics.tenant_total_costs.llm_request_count is 'LLM calls.';
comment on column metrics.tenant_total_costs.e2b_session_count is 'Sandbox sessions.';
comment on column metrics.tenant_total_costs.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.margins with (security_barrier) as
    select l.tenant_id, l.day as date, l.source as resource_type, l.provider, l.name,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           pg_catalog.trim_scale(sum(l.provider_cost_usd)) as provider_cost,
           pg_catalog.trim_scale(sum(l.cost_usd) - sum(l.provider_cost_usd)) as margin,
           pg_catalog.trim_scale(pg_catalog.round((sum(l.cost_usd) - sum(l.provider_cost_usd)) * 100
               / nullif(sum(l.cost_usd), 0), 2)) as margin_percentage
    from copilot_internal.daily_lines l
    where l.source <> 'charge' and (select copilot_internal.caller_sees_all())
    group by l.tenant_id, l.day, l.source, l.provider, l.name;
comment on view metrics.margins is
    'What tenants pay and what providers bill, by tenant, UTC day and model or sandbox type; not for members of '
    'tenants. Charges without a record have no margin and are left out.';
comment on column metrics.margins.tenant_id is 'The tenant.';
comment on column metrics.margins.date is 'The UTC day on which it occurred.';
comment on column metrics.margins.resource_type is 'llm or e2b.';
comment on column metrics.margins.provider is 'The model''s provider; empty for a sandbox.';
comment on column metrics.margins.name is 'The model or sandbox type.';
comment on column metrics.margins.total_cost is 'USD that the tenant pays.';
comment on column metrics.margins.provider_cost is 'USD that the provider bills.';
comment on column metrics.margins.margin is 'USD that are left; below zero where the provider bills more.';
comment on column metrics.margins.margin_percentage is 'Percent of total_cost that are left; NULL where that is 0.';

create view metrics.quota_status with (security_barrier) as
    select v.*
    from (
        select q.scope, q.scope_id, q.resource_type, q.limit_usd, q.spent_usd as current_spend_usd, q.usage_percentage,
               q.status, q.reserved_usd, q.remaining_usd, q.period, q.period_start, q.period_end, q.tenant_id, q.mode,
               q.is_default, q.quota_id, q.suspended
        from copilot_internal.quota_standings q
        where (select copilot_internal.caller_sees_all())
        union all
        select q.scope, q.scope_id, q.resource_type, q.limit_usd, q.spent_usd, q.usage_percentage,
               q.status, q.reserved_usd, q.remaining_usd, q.period, q.period_start, q.period_end, q.tenant_id, q.mode,
               q.is_default, q.quota_id, q.suspended
        from copilot_internal.quota_standings q
        where not (select copilot_internal.caller_sees_all())
          and q.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
          and (q.scope <> 'user' or q.scope_id = (select copilot_internal.caller_user())
               or q.tenant_id = any ((select copilot_internal.caller_open_tenants())::uuid[]))
    ) v;
comment on view metrics.quota_status is
    'Every quota in force with what its present period has cost. Quotas of the platform are shown only to those who '
    'see all tenants, those of another user as in cost_by_user.';
comment on column metrics.quota_status.scope is 'platform, tenant or user.';
comment on column metrics.quota_status.scope_id is 'The tenant or user; NULL for the platform.';
comment on column metrics.quota_status.resource_type is 'llm, e2b or all.';
comment on column metrics.quota_status.limit_usd is 'USD per period, with the raises in force; NULL without a limit.';
comment on column metrics.quota_status.current_spend_usd is 'USD spent in the present period.';
comment on column metrics.quota_status.usage_percentage is 'Percent of the limit that is spent.';
comment on column metrics.quota_status.status is
    'EXCEEDED when nothing more fits or the quota is suspended, WARNING from the warning threshold on, else OK.';
comment on column metrics.quota_status.reserved_usd is 'USD held by live reservations.';
comment on column metrics.quota_status.remaining_usd is 'USD left, never below 0; NULL without a limit.';
comment on column metrics.quota_status.period is 'hour, day, week, month, year or lifetime.';
comment on column metrics.quota_status.period_start is 'When the present period began; NULL for lifetime.';
comment on column metrics.quota_status.period_end is 'When it ends (exclusive); NULL for lifetime.';
comment on column metrics.quota_status.tenant_id is 'The tenant that the quota belongs to; NULL for the platform.';
comment on column metrics.quota_status.mode is 'hard, soft or shadow.';
comment on column metrics.quota_status.is_default is 'True for a default that the tenant has no row for.';
comment on column metrics.quota_status.quota_id is 'The quota''s id, a default''s too: what raise_quota takes.';
comment on column metrics.quota_status.suspended is 'Whether the quota blocks everything, whatever its limit.';

create view metrics.cost_estimates with (security_barrier) as
    select v.*
    from (
        select 'llm'::text as resource_type, e.model_provider, e.model_name, null::text as sandbox_type,
               null::text as region, e.operation_type, e.confidence_level,
               pg_catalog.trim_scale(e.estimated_cost_usd) as estimated_cost_usd, e.effective_from, e.effective_to,
               e.tenant_id, e.from_history
        from copilot_internal.llm_cost_estimates e
        where e.effective_from <= pg_catalog.clock_timestamp()
          and (e.effective_to is null or e.effective_to > pg_catalog.clock_timestamp())
          and (e.tenant_id is null or (select copilot_internal.caller_sees_all())
               or e.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
                  and (not e.from_history or e.operation_type = 'chat'
                       or e.tenant_id = any ((select copilot_internal.caller_open_tenants())::uuid[])))
        union all
        select 'e2b', null, null, e.sandbox_type, e.region, e.operation_type, e.confidence_level,
               pg_catalog.trim_scale(e.estimated_cost_usd), e.effective_from, e.effective_to,
               e.tenant_id, e.from_history
        from copilot_internal.e2b_cost_estimates e
        where e.effective_from <= pg_catalog.clock_timestamp()
          and (e.effective_to is null or e.effective_to > pg_catalog.clock_timestamp())
          and (e.tenant_id is null or (select copilot_internal.caller_sees_all())
               or e.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]))
    ) v;
comment on view metrics.cost_estimates is
    'The named estimates in force: the operator''s, and those that shipped profiles give for models with a shipped '
    'price are computed by get_llm_cost_estimate and get_e2b_cost_estimate.';
comment on column metrics.cost_estimates.resource_type is 'llm or e2b.';
comment on column metrics.cost_estimates.model_provider is 'The provider of a model.';
comment on column metrics.cost_estimates.model_name is 'The model.';
comment on column metrics.cost_estimates.sandbox_type is 'The sandbox type.';
comment on column metrics.cost_estimates.region is 'The region of a sandbox.';
comment on column metrics.cost_estimates.operation_type is 'The kind of operation.';
comment on column metrics.cost_estimates.confidence_level is 'conservative, typical or optimistic.';
comment on column metrics.cost_estimates.estimated_cost_usd is 'USD for one operation.';
comment on column metrics.cost_estimates.effective_from is 'From when.';
comment on column metrics.cost_estimates.effective_to is 'Until when.';
comment on column metrics.cost_estimates.tenant_id is 'The tenant that it is for; NULL for all.';
comment on column metrics.cost_estimates.from_history is 'Whether it comes from the tenant''s own records.';

create view metrics.admission with (security_barrier) as
    select c.mode, c.entries, c.entries_used, c.entries_pinned, c.entry_bytes, c.shared_bytes, c.admissions, c.refusals,
           c.retryable_refusals, c.loads, c.evictions, c.waits
    from copilot_internal.admission_counters() c
    where (select copilot_internal.caller_sees_all());
comment on view metrics.admission is
    'How admission works on this server, of all its databases, since it started; shown only to those who see all '
    'tenants.';
comment on column metrics.admission.mode is
    'escrow (the library is preloaded) or locked. All that follows is NULL in the locked mode.';
comment on column metrics.admission.entries is 'Counters that fit into shared memory (pg_tollgate.quota_entries).';
comment on column metrics.admission.entries_used is 'Counters in memory.';
comment on column metrics.admission.entries_pinned is 'Those that open transactions have charged.';
comment on column metrics.admission.entry_bytes is 'Bytes of one counter.';
comment on column metrics.admission.shared_bytes is 'Bytes of shared memory in all.';
comment on column metrics.admission.admissions is 'Charges that were counted, rolled back later or not.';
comment on column metrics.admission.refusals is 'Charges refused because the money is spent, or for want of a price.';
comment on column metrics.admission.retryable_refusals is 'Charges refused only because of what others have in flight.';
comment on column metrics.admission.loads is 'Counters read from the tables.';
comment on column metrics.admission.evictions is 'Counters that gave their place to others.';
comment on column metrics.admission.waits is
    'Times that a charge waited for another transaction in order to load a counter.';

create view metrics.tenants_without_quota with (security_barrier) as
    select t.id as tenant_id, t.name as tenant_name, t.slug as tenant_slug, t.plan as tenant_plan, r.resource_type
    from copilot_internal.tenants t
    cross join (values ('llm'), ('e2b')) as r (resource_type)
    where t.deleted_at is null
      and ((select copilot_internal.caller_sees_all())
           or t.id = any ((select copilot_internal.caller_tenants())::uuid[]))
      and not exists (
          select from copilot_internal.effective_quotas q
          where q.tenant_id = t.id and q.scope = 'tenant' and q.resource_type in (r.resource_type, 'all')
            and q.limit_usd is not null and q.mode = 'hard');
comment on view metrics.tenants_without_quota is
    'The audit: living tenants whose spending on a resource no hard limit of their own or by default holds. No rows '
    'unless an operator has taken limits away.';
comment on column metrics.tenants_without_quota.tenant_id is 'The tenant.';
comment on column metrics.tenants_without_quota.tenant_name is 'What people call it.';
comment on column metrics.tenants_without_quota.tenant_slug is 'Its unique name in addresses.';
comment on column metrics.tenants_without_quota.tenant_plan is 'Its plan.';
comment on column metrics.tenants_without_quota.resource_type is 'What it may spend without a limit: llm or e2b.';

-- What maintain() and the consumers of events have before them. A count ends at a million, so that a look stays cheap.
create view metrics.housekeeping with (security_barrier) as
    select (select count(*) from (select from copilot_internal.pending_costs limit 1000000) p) as pending_rows,
           (select count(*) from (select from copilot_internal.quota_events
                                  where acknowledged_at is null limit 1000000) e) as unacknowledged_events,
           (select min(e.created_at) from copilot_internal.quota_events e
            where e.acknowledged_at is null) as oldest_event_at,
           h.live_holds, h.held_usd, h.expired_holds
    from (
        select count(*) filter (where r.expires_at > pg_catalog.clock_timestamp()) as live_holds,
               pg_catalog.trim_scale(coalesce(sum(r.held_nanos) filter (
                   where r.expires_at > pg_catalog.clock_timestamp()), 0) * 0.000000001) as held_usd,
               count(*) filter (where r.expires_at <= pg_catalog.clock_timestamp()) as expired_holds
        from (select expires_at, held_nanos from copilot_internal.quota_reservations
              where state = 'held' limit 1000000) r
    ) h
    where (select copilot_internal.caller_sees_all());
comment on view metrics.housekeeping is
    'What maintain() and the consumers of events have before them in this database: one row. Not for members of '
    'tenants. A count ends at 1,000,000.';
comment on column metrics.housekeeping.pending_rows is
    'Charges that are not in the rollups yet: maintain() folds them.';
comment on column metrics.housekeeping.unacknowledged_events is 'Quota events that no consumer has acknowledged.';
comment on column metrics.housekeeping.oldest_event_at is 'When the oldest of them was written; NULL without one.';
comment on column metrics.housekeeping.live_holds is 'Reservations that hold money.';
comment on column metrics.housekeeping.held_usd is 'USD that they hold; of a million of them at most.';
comment on column metrics.housekeeping.expired_holds is
    'Reservations that expired and hold nothing: maintain() marks them.';

-- With its owner's rights a view cannot read one that takes its reader's, as those of copilot_internal do. Each view of
-- that kind is therefore spelled out: the text of what it reads is put in its place, down to the tables.
do $$
declare
    v_view record;
    v_text text;
    v_inner text;
begin
    for v_view in
        with recursive views as (
            select c.oid, coalesce('security_invoker=true' = any (c.reloptions), false) as is_invoker
            from pg_catalog.pg_class c
            join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
            where c.relkind = 'v' and d.deptype = 'e' and d.refclassid = 'pg_catalog.pg_extension'::regclass
              and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate')
        ), reads as (
            select distinct r.ev_class as reader, d.refobjid as read
            from pg_catalog.pg_rewrite r
            join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
            join views i on d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = i.oid
            where i.is_invoker and r.ev_class <> i.oid
        ), inside (reader, read, depth) as (
            select r.reader, r.read, 1 from reads r join views o on o.oid = r.reader where not o.is_invoker
            union all
            select i.reader, r.read, i.depth + 1 from inside i join reads r on r.reader = i.read
        )
        select i.reader::regclass::text as name,
               array_agg(i.read::regclass::text order by i.depth, i.read) as inner_names
        from inside i group by i.reader
    loop
        v_text := rtrim(pg_catalog.pg_get_viewdef(v_view.name::regclass), ';');
        foreach v_inner in array v_view.inner_names loop
            v_text := replace(v_text, v_inner || ' ',
                '(' || rtrim(pg_catalog.pg_get_viewdef(v_inner::regclass), ';') || ') ');
        end loop;
        execute pg_catalog.format('create or replace view %s with (security_barrier) as %s', v_view.name, v_text);
    end loop;
end $$;
