-- Sandboxes: one unended context a path, with money set aside before there is a sandbox, and billed exactly once.
--
-- Locks. A quota function comes before any row is locked, and none waits for a context's row after one: in locked
-- mode the quota's lock is the tenant's, and would stop all charging. Where a row cannot be locked at once then, what
-- the quota did is rolled back with a subtransaction, and the caller tries again.

create table copilot_internal.execution_contexts (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    conversation_id uuid not null,
    path_id uuid not null,
    sandbox_id text check (pg_catalog.length(sandbox_id) between 1 and 200),
    sandbox_status text not null default 'creating'
        check (sandbox_status in ('creating', 'ready', 'error', 'terminated')),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    last_used_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null default pg_catalog.clock_timestamp() + interval '30 minutes',
    terminated_at timestamptz,
    error_message text check (pg_catalog.octet_length(error_message) <= 65536),
    resource_usage jsonb check (pg_catalog.octet_length(resource_usage::text) <= 65536),
    user_id uuid,
    sandbox_type text not null default 'standard' check (pg_catalog.length(sandbox_type) between 1 and 200),
    region text check (pg_catalog.length(region) between 1 and 200),
    reservation_id uuid,
    estimated_cost_usd numeric check (estimated_cost_usd >= 0 and estimated_cost_usd < 'Infinity'),
    ready_at timestamptz,
    max_expires_at timestamptz not null default pg_catalog.clock_timestamp() + interval '24 hours',
    creating_until timestamptz default pg_catalog.clock_timestamp() + interval '2 minutes',
    termination_reason text check (pg_catalog.length(termination_reason) <= 2000),
    kill_claimed_until timestamptz,
    released_at timestamptz,
    duration_seconds numeric check (duration_seconds >= 0),
    cost_record_id uuid,
    late_for_context_id uuid,
    request_id text check (pg_catalog.length(request_id) <= 200),
    trace_id text check (pg_catalog.length(trace_id) <= 200),
    span_id text check (pg_catalog.length(span_id) <= 200),
    primary key (id, tenant_id),
    foreign key (path_id, conversation_id, tenant_id)
        references copilot_internal.conversation_paths (id, conversation_id, tenant_id),
    check ((sandbox_status in ('terminated', 'error')) = (terminated_at is not null)),
    check (sandbox_status <> 'ready' or sandbox_id is not null and ready_at is not null),
    check (released_at is null or terminated_at is not null)
);
create unique index execution_contexts_unended_idx
    on copilot_internal.execution_contexts (path_id, tenant_id) where terminated_at is null;
create index execution_contexts_expires_at_idx
    on copilot_internal.execution_contexts (expires_at) where terminated_at is null;
create index execution_contexts_creating_until_idx
    on copilot_internal.execution_contexts (creating_until) where sandbox_status = 'creating';
create index execution_contexts_unreleased_idx
    on copilot_internal.execution_contexts (terminated_at) where released_at is null and terminated_at is not null;
create index execution_contexts_released_at_idx
    on copilot_internal.execution_contexts (released_at) where released_at is not null;
create index execution_contexts_sandbox_id_idx on copilot_internal.execution_contexts (sandbox_id);
-- A sandbox is billed to one context at a time.
create unique index execution_contexts_sandbox_idx on copilot_internal.execution_contexts (tenant_id, sandbox_id)
    where sandbox_id is not null and released_at is null;
create index execution_contexts_conversation_id_idx
    on copilot_internal.execution_contexts (conversation_id, tenant_id);
comment on table copilot_internal.execution_contexts is
    'Sandboxes of paths. That a context has ended and that its sandbox is gone are two facts: the bill comes with the '
    'second.';
comment on column copilot_internal.execution_contexts.id is
    'The context; the application tags its sandbox with it.';
comment on column copilot_internal.execution_contexts.tenant_id is 'Who pays.';
comment on column copilot_internal.execution_contexts.conversation_id is 'Of which conversation.';
comment on column copilot_internal.execution_contexts.path_id is 'Of which path; one unended context each.';
comment on column copilot_internal.execution_contexts.sandbox_id is 'The sandbox; NULL until it is known.';
comment on column copilot_internal.execution_contexts.sandbox_status is 'creating, ready, error or terminated.';
comment on column copilot_internal.execution_contexts.created_at is 'When somebody was told to create it.';
comment on column copilot_internal.execution_contexts.last_used_at is 'When it was last acquired or touched.';
comment on column copilot_internal.execution_contexts.expires_at is
    'When it ends unless it is renewed: the time-out that the application gives the sandbox.';
comment on column copilot_internal.execution_contexts.terminated_at is 'When it ended; final.';
comment on column copilot_internal.execution_contexts.error_message is 'What went wrong.';
comment on column copilot_internal.execution_contexts.resource_usage is 'What the application measured.';
comment on column copilot_internal.execution_contexts.user_id is 'On whose behalf.';
comment on column copilot_internal.execution_contexts.sandbox_type is 'The sandbox type, as prices know it.';
comment on column copilot_internal.execution_contexts.region is 'Where it runs.';
comment on column copilot_internal.execution_contexts.reservation_id is 'The hold on the quota.';
comment on column copilot_internal.execution_contexts.estimated_cost_usd is 'USD that it sets aside.';
comment on column copilot_internal.execution_contexts.ready_at is
    'When it was activated: the bill begins. Of an orphan, when its creator was told to create it.';
comment on column copilot_internal.execution_contexts.max_expires_at is 'It is never renewed beyond this.';
comment on column copilot_internal.execution_contexts.creating_until is 'From then on another may create.';
comment on column copilot_internal.execution_contexts.termination_reason is
    'Why it ended; orphan: a sandbox that came too late for its context.';
comment on column copilot_internal.execution_contexts.kill_claimed_until is 'Until when a worker sees to the sandbox.';
comment on column copilot_internal.execution_contexts.released_at is 'When its sandbox was gone and billed.';
comment on column copilot_internal.execution_contexts.duration_seconds is 'Seconds that were billed.';
comment on column copilot_internal.execution_contexts.cost_record_id is 'Its row of e2b_cost_records.';
comment on column copilot_internal.execution_contexts.late_for_context_id is
    'Of an orphan: the context without another sandbox that it came too late for. The two are billed once.';
comment on column copilot_internal.execution_contexts.request_id is 'The request that was told to create it.';
comment on column copilot_internal.execution_contexts.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.execution_contexts.span_id is 'OpenTelemetry span.';

-- A killer may have found a sandbox by its tag, and billed it, before its creator came too late with its id: so what
-- came first too late for a context that has no sandbox is billed as that context is.
create function copilot_internal.bill_key(p_context copilot_internal.execution_contexts) returns text
    language sql immutable
begin atomic
    select 'execution_context:' || coalesce((p_context).late_for_context_id, (p_context).id)::text;
end;
comment on function copilot_internal.bill_key(copilot_internal.execution_contexts) is
    'The request id of a context''s bill.';

-- Bound to the core's functions when this is created: another function put beside them in public is never called.
create function copilot_internal.hold_for_context(
    p_tenant_id uuid, p_context_id uuid, p_amount_usd numeric, p_user_id uuid, p_ttl interval)
    returns table (allowed boolean, reservation_id uuid, blocked_scope text, remaining_usd numeric,
        retry_after_seconds integer, reason text)
    language sql volatile rows 1
begin atomic
    select r.allowed, r.reservation_id, r.blocked_scope, r.remaining_usd, r.retry_after_seconds, r.reason
    from public.reserve_quota(p_tenant_id, 'e2b'::text, p_amount_usd, 'execution_context:' || p_context_id::text,
                              p_user_id, p_ttl, '{}'::jsonb, false) r;
end;
comment on function copilot_internal.hold_for_context(uuid, uuid, numeric, uuid, interval) is
    'Sets money aside for a sandbox. Run as the owner.';

create function copilot_internal.extend_hold(
    p_tenant_id uuid, p_reservation_id uuid, p_ttl interval, p_additional_usd numeric) returns boolean
    language sql volatile
begin atomic
    select r.allowed
    from public.extend_reservation(p_reservation_id, p_ttl, p_additional_usd, null::text, p_tenant_id) r;
end;
comment on function copilot_internal.extend_hold(uuid, uuid, interval, numeric) is
    'Sets more aside, for longer; false when refused. Run as the owner.';

create function copilot_internal.release_hold(p_tenant_id uuid, p_reservation_id uuid, p_reason text) returns numeric
    language sql volatile
begin atomic
    select r.released_usd from public.release_reservation(p_reservation_id, p_reason, p_tenant_id) r;
end;
comment on function copilot_internal.release_hold(uuid, uuid, text) is
    'Gives back what a sandbox that never was had set aside. Run as the owner.';

create function copilot_internal.bill_context(
    p_context copilot_internal.execution_contexts, p_duration_seconds numeric, p_vcpu_seconds numeric,
    p_memory_gib_seconds numeric)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, replayed boolean)
    language sql volatile rows 1
begin atomic
    select r.cost_record_id, r.cost_usd, r.cost_status, r.replayed
    from public.record_e2b_cost((p_context).tenant_id, (p_context).sandbox_id, (p_context).sandbox_type,
        p_duration_seconds, (p_context).user_id, (p_context).conversation_id, (p_context).path_id,
        (p_context).region, p_vcpu_seconds, p_memory_gib_seconds, null::numeric,
        copilot_internal.bill_key(p_context), (p_context).reservation_id, false, null::timestamptz,
        '{}'::jsonb, false, null::text, null::numeric, null::numeric, null::numeric, null::numeric) r;
end;
comment on function copilot_internal.bill_context(
    copilot_internal.execution_contexts, numeric, numeric, numeric) is
    'Records what a sandbox cost, once whatever is said again. Run as the owner.';

create function copilot_internal.price_of_context(
    p_tenant_id uuid, p_sandbox_type text, p_region text, p_seconds numeric) returns numeric
    language sql stable
begin atomic
    select coalesce(
        (select e.estimated_cost_usd
         from public.estimate_e2b_cost(p_sandbox_type, p_seconds, p_region, null::numeric, null::numeric, p_tenant_id,
                                       null::text, null::numeric, null::numeric, null::numeric, null::numeric) e),
        public.get_e2b_cost_estimate(p_sandbox_type, coalesce(p_region, 'us-east-1'), 'standard_session'::text,
                                     'conservative'::text, p_tenant_id));
end;
comment on function copilot_internal.price_of_context(uuid, text, text, numeric) is
    'What a sandbox costs in so many seconds (USD), by its price, else by the named estimate; NULL when neither is '
    'known. Run as the owner.';

-- The price of more time, by what was set aside for the time it has.
create function copilot_internal.price_of_renewal(
    p_context copilot_internal.execution_contexts, p_expires_at timestamptz) returns numeric
    language sql immutable
begin atomic
    select pg_catalog.round((p_context).estimated_cost_usd
        * extract(epoch from greatest(p_expires_at - (p_context).expires_at, '0'))
        / greatest(extract(epoch from (p_context).expires_at
                           - coalesce((p_context).ready_at, (p_context).created_at)), 1), 12);
end;
comment on function copilot_internal.price_of_renewal(copilot_internal.execution_contexts, timestamptz) is
    'USD that a later end costs, at the rate at which the context set money aside.';

create function copilot_internal.room_for_context(p_tenant_id uuid, p_amount_usd numeric, p_user_id uuid)
    returns table (allowed boolean, blocked_scope text, remaining_usd numeric, retry_after_seconds integer, reason text)
    language sql stable rows 1
begin atomic
    select c.allowed, c.blocked_scope, c.remaining_usd, c.retry_after_seconds, c.reason
    from public.check_quota_before_operation(p_tenant_id, 'e2b'::text, p_amount_usd, p_user_id) c;
end;
comment on function copilot_internal.room_for_context(uuid, numeric, uuid) is
    'Whether the quota leaves room for a sandbox. Run as the owner.';

-- What the application's store writes itself: a row without a hold asks the quota. Those who pass are the functions of
-- this extension, which have a hold or note an orphan, and a superuser's restore.
create function copilot_internal.check_new_context() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_role constant name := case current_setting('role') when 'none' then session_user else current_setting('role') end;
    v_check record;
begin
    if new.reservation_id is not null or new.terminated_at is not null
       or (select r.rolsuper from pg_roles r where r.rolname = v_role)
    then
        return new;
    end if;
    if new.sandbox_status not in ('creating', 'ready') then
        raise exception 'a context does not begin as one that has ended' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.require_open_conversation(new.tenant_id, new.conversation_id);
    perform copilot_internal.require_open_path(new.tenant_id, new.conversation_id, new.path_id);
    -- As in acquire_execution_context, which would else wait for the row with money set aside.
    if not copilot_internal.try_path_lock(new.tenant_id, new.path_id) then
        raise exception 'another request is acquiring it' using errcode = 'lock_not_available';
    elsif not copilot_internal.try_keep_path(new.tenant_id, new.path_id) then
        raise exception 'the path is being changed or closed' using errcode = 'lock_not_available';
    end if;
    new.expires_at := least(new.expires_at, new.created_at + interval '1 hour');
    if new.sandbox_status = 'ready' then
        new.ready_at := coalesce(new.ready_at, clock_timestamp());
    end if;
    select c.* into v_check
    from copilot_internal.room_for_context(new.tenant_id, coalesce(copilot_internal.price_of_context(new.tenant_id,
        new.sandbox_type, new.region, greatest(extract(epoch from new.expires_at - clock_timestamp()), 0)), 0),
        new.user_id) c;
    if not v_check.allowed then
        perform copilot_internal.raise_refusal(jsonb_build_object('reason', v_check.reason, 'scope',
            v_check.blocked_scope, 'remaining_usd', v_check.remaining_usd), v_check.retry_after_seconds);
    end if;
    return new;
end $$;
comment on function copilot_internal.check_new_context() is
    'Trigger: refuses (PT429) a context that an application inserts itself when the quota leaves no room for it.';
create trigger check_new_context before insert on copilot_internal.execution_contexts
    for each row execute function copilot_internal.check_new_context();

create function copilot_internal.guard_context() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.terminated_at is not null and (new.terminated_at is distinct from old.terminated_at
                                          or new.sandbox_status <> old.sandbox_status)
    then
        raise exception 'the context has ended' using errcode = 'PT409', detail = old.sandbox_status;
    end if;
    if new.terminated_at is not null and new.sandbox_status not in ('terminated', 'error') then
        new.sandbox_status := 'terminated';
    elsif new.sandbox_status in ('terminated', 'error') and new.terminated_at is null then
        new.terminated_at := clock_timestamp();
    elsif new.sandbox_status = 'ready' and new.ready_at is null then
        new.ready_at := clock_timestamp();
    end if;
    -- A clock of the application's does not move the end.
    if old.terminated_at is null and new.terminated_at is not null then
        new.terminated_at := least(new.terminated_at, clock_timestamp());
    end if;
    return new;
end $$;
comment on function copilot_internal.guard_context() is
    'Trigger: what has ended stays ended (PT409), and status and moments agree, also where an application writes them.';
create trigger guard_context before update of sandbox_status, terminated_at on copilot_internal.execution_contexts
    for each row execute function copilot_internal.guard_context();

-- Who was told to create may still come with a sandbox, which then needs the path and a row of its own.
create function copilot_internal.awaits_sandbox(p_context copilot_internal.execution_contexts) returns boolean
    language sql volatile
begin atomic
    select (p_context).sandbox_id is null and (p_context).termination_reason is distinct from 'failed'
       and (p_context).created_at > pg_catalog.clock_timestamp() - interval '1 hour';
end;
comment on function copilot_internal.awaits_sandbox(copilot_internal.execution_contexts) is
    'Whether a sandbox may still be activated for a context that has none, within an hour of its beginning.';

-- Without it another sandbox that comes too late would take the bill for its own, and never be billed.
create function copilot_internal.explains_a_bill(p_context copilot_internal.execution_contexts) returns boolean
    language sql volatile
begin atomic
    select exists (select from copilot_internal.execution_contexts c
                   where c.id = (p_context).late_for_context_id and c.tenant_id = (p_context).tenant_id);
end;
comment on function copilot_internal.explains_a_bill(copilot_internal.execution_contexts) is
    'Whether a sandbox that came too late is billed under the key of another context that is still there. Run as the '
    'owner.';

create function copilot_internal.end_contexts(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_reason text) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_ended integer;
begin
    perform from copilot_internal.execution_contexts c
    where c.conversation_id = p_conversation_id and c.tenant_id = p_tenant_id
      and (p_path_id is null or c.path_id = p_path_id) and c.terminated_at is null
    order by c.id for no key update;
    update copilot_internal.execution_contexts c
    set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
        terminated_at = clock_timestamp(), termination_reason = p_reason
    where c.conversation_id = p_conversation_id and c.tenant_id = p_tenant_id
      and (p_path_id is null or c.path_id = p_path_id) and c.terminated_at is null;
    get diagnostics v_ended = row_count;
    return v_ended;
end $$;
comment on function copilot_internal.end_contexts(uuid, uuid, uuid, text) is
    'Ends the contexts of a conversation, or of one path of it, and returns how many. Their sandboxes are left to the '
    'killers. Run as the owner, with the path locked.';

create view public.execution_contexts_view with (security_invoker) as
    select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id, c.sandbox_status, c.created_at,
           c.last_used_at, c.expires_at, c.terminated_at, c.error_message, c.resource_usage,
           c.expires_at < pg_catalog.clock_timestamp() and c.terminated_at is null as is_expired,
           extract(epoch from c.expires_at - pg_catalog.clock_timestamp())::integer as seconds_until_expiry,
           extract(epoch from pg_catalog.clock_timestamp() - c.created_at)::integer as age_seconds,
           c.user_id, c.sandbox_type, c.region, c.ready_at, c.released_at, c.duration_seconds, c.cost_record_id,
           c.termination_reason
    from copilot_internal.execution_contexts c;
comment on view public.execution_contexts_view is 'Sandboxes of paths, for service_role.';
comment on column public.execution_contexts_view.is_expired is 'Whether it should have ended and has not.';
comment on column public.execution_contexts_view.seconds_until_expiry is 'Negative when it has expired.';
comment on column public.execution_contexts_view.age_seconds is 'Since its creation.';
