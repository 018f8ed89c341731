-- From activation to the bill.

create function copilot_internal.context_by_id(p_context_id uuid) returns copilot_internal.execution_contexts
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_context copilot_internal.execution_contexts;
begin
    if p_context_id is null then
        raise exception 'p_context_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    select c.* into v_context from copilot_internal.execution_contexts c where c.id = p_context_id;
    if not found then
        raise exception 'there is no such context' using errcode = 'no_data_found';
    end if;
    return v_context;
end $$;
comment on function copilot_internal.context_by_id(uuid) is 'A context; P0002 for none. Run as the owner.';

-- A sandbox that came too late: a row of its own, born ended, so that a killer comes and it is billed.
create function copilot_internal.note_orphan(p_context copilot_internal.execution_contexts, p_sandbox_id text)
    returns void language sql volatile
begin atomic
    insert into copilot_internal.execution_contexts
        (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, created_at, last_used_at, expires_at,
         max_expires_at, creating_until, ready_at, terminated_at, termination_reason, late_for_context_id, user_id,
         sandbox_type, region, trace_id, span_id)
    select (p_context).tenant_id, (p_context).conversation_id, (p_context).path_id, p_sandbox_id, 'error',
           (p_context).created_at, (p_context).created_at, (p_context).expires_at, (p_context).max_expires_at, null,
           (p_context).created_at, pg_catalog.clock_timestamp(), 'orphan',
           case when (p_context).sandbox_id is null and not exists (
               select from copilot_internal.execution_contexts o
               where o.conversation_id = (p_context).conversation_id and o.tenant_id = (p_context).tenant_id
                 and o.late_for_context_id = (p_context).id) then (p_context).id end,
           (p_context).user_id, (p_context).sandbox_type, (p_context).region, (p_context).trace_id, (p_context).span_id
    where not exists (
        select from copilot_internal.execution_contexts o
        where o.sandbox_id = p_sandbox_id and o.tenant_id = (p_context).tenant_id)
    on conflict do nothing;
end;
comment on function copilot_internal.note_orphan(copilot_internal.execution_contexts, text) is
    'Puts a sandbox without a context into the queue of the killers, once. Run as the owner.';

-- Also where the other has ended: its bill goes on until it is released. An orphan of the path is what this context
-- left behind itself.
create function copilot_internal.refuse_shared_sandbox(
    p_context copilot_internal.execution_contexts, p_sandbox_id text) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from copilot_internal.execution_contexts o
               where o.sandbox_id = p_sandbox_id and o.tenant_id = p_context.tenant_id and o.id <> p_context.id
                 and o.released_at is null
                 and (o.termination_reason is distinct from 'orphan' or o.path_id <> p_context.path_id))
    then
        raise exception 'the sandbox belongs to another context' using errcode = 'PT409',
            hint = 'Release that context first, or make another sandbox.';
    end if;
end $$;
comment on function copilot_internal.refuse_shared_sandbox(copilot_internal.execution_contexts, text) is
    'Raises PT409 for a sandbox that would be billed to two contexts. Run as the owner.';

create function copilot_internal.activate_execution_context(p_context_id uuid, p_sandbox_id text)
    returns table (activated boolean, sandbox_status text, expires_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('activate a context');
    if p_sandbox_id is null or length(p_sandbox_id) not between 1 and 200 then
        raise exception 'p_sandbox_id must have 1 to 200 characters' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    -- One that comes too late gets a row of its own, which needs the path's key. Paths are locked before contexts.
    perform from copilot_internal.conversation_paths p
    where p.id = v_context.path_id and p.tenant_id = v_context.tenant_id for key share;
    select c.* into v_context from copilot_internal.execution_contexts c
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id for no key update;
    if not found then
        v_context := copilot_internal.context_by_id(p_context_id);
    end if;
    perform copilot_internal.refuse_shared_sandbox(v_context, p_sandbox_id);
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating'
       and v_context.reservation_id is not null and v_context.created_at < clock_timestamp() - interval '15 minutes'
    then
        -- The hold is for its time and fifteen minutes: a sandbox that came later would run without.
        update copilot_internal.execution_contexts c
        set sandbox_status = 'error', terminated_at = clock_timestamp(), termination_reason = 'stuck'
        where c.id = p_context_id and c.tenant_id = v_context.tenant_id
        returning c.* into v_context;
    end if;
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating'
       and coalesce(v_context.sandbox_id, p_sandbox_id) = p_sandbox_id
    then
        begin
            -- The sandbox's own time-out began when it was made, not before the row.
            update copilot_internal.execution_contexts c
            set sandbox_status = 'ready', sandbox_id = p_sandbox_id, ready_at = clock_timestamp(),
                last_used_at = clock_timestamp(), creating_until = null,
                expires_at = least(clock_timestamp() + (c.expires_at - c.created_at), c.max_expires_at)
            where c.id = p_context_id and c.tenant_id = v_context.tenant_id
            returning c.* into v_context;
        exception when unique_violation then
            -- Another context has had it since it was looked for.
            perform copilot_internal.refuse_shared_sandbox(v_context, p_sandbox_id);
            raise;
        end;
        activated := true;
    else
        activated := v_context.terminated_at is null and v_context.sandbox_id = p_sandbox_id;
        if not activated then
            perform copilot_internal.note_orphan(v_context, p_sandbox_id);
        end if;
    end if;
    return query select activated, v_context.sandbox_status, v_context.expires_at;
end $$;
comment on function copilot_internal.activate_execution_context(uuid, text) is
    'What public.activate_execution_context does.';

create function public.activate_execution_context(p_context_id uuid, p_sandbox_id text)
    returns table (activated boolean, sandbox_status text, expires_at timestamptz)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.activate_execution_context(p_context_id, p_sandbox_id);
end;
comment on function public.activate_execution_context(uuid, text) is
    'Tells which sandbox was created for a context. False when it came after 15 minutes, or the context has ended or '
    'has another. Then kill the sandbox: it is in the killers'' queue, and billed. For service_role.';

create function copilot_internal.touch_execution_context(p_context_id uuid, p_ttl_minutes integer default 30)
    returns table (renewed boolean, sandbox_status text, expires_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
    v_age interval;
    v_minutes integer;
begin
    perform copilot_internal.require_server('touch a context');
    if p_ttl_minutes is null or p_ttl_minutes not between 1 and 60 then
        raise exception 'p_ttl_minutes must be between 1 and 60' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    v_age := clock_timestamp() - v_context.created_at;
    v_minutes := least(p_ttl_minutes, case when v_age > interval '2 hours' then 15
                                           when v_age > interval '1 hour' then 20 else 60 end);
    renewed := false;
    if v_context.terminated_at is null and v_context.sandbox_status = 'ready'
       and v_context.expires_at > clock_timestamp()
    then
        renewed := copilot_internal.renew_context(v_context, clock_timestamp() + make_interval(mins => v_minutes))
            = 'reuse';
        v_context := copilot_internal.context_by_id(p_context_id);
    end if;
    return query select renewed, v_context.sandbox_status, v_context.expires_at;
end $$;
comment on function copilot_internal.touch_execution_context(uuid, integer) is
    'What public.touch_execution_context does.';

create function public.touch_execution_context(p_context_id uuid, p_ttl_minutes integer default 30)
    returns table (renewed boolean, sandbox_status text, expires_at timestamptz)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.touch_execution_context(p_context_id, p_ttl_minutes);
end;
comment on function public.touch_execution_context(uuid, integer) is
    'Gives a ready context 1 to 60 minutes from now: at most 20 after an hour, 15 after two, and 24 hours in all. '
    'False for one that has ended, expired or is being changed, and where the quota refuses. For service_role.';

create function copilot_internal.terminate_execution_context(p_context_id uuid, p_reason text default null)
    returns table (terminated boolean, sandbox_id text)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('terminate a context');
    if length(p_reason) > 2000 then
        raise exception 'p_reason has at most 2,000 characters' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    update copilot_internal.execution_contexts c
    set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
        terminated_at = clock_timestamp(), termination_reason = coalesce(p_reason, 'terminated')
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id and c.terminated_at is null;
    terminated := found;
    return query select terminated, (copilot_internal.context_by_id(p_context_id)).sandbox_id;
end $$;
comment on function copilot_internal.terminate_execution_context(uuid, text) is
    'What public.terminate_execution_context does.';

create function public.terminate_execution_context(p_context_id uuid, p_reason text default null)
    returns table (terminated boolean, sandbox_id text)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.terminate_execution_context(p_context_id, p_reason);
end;
comment on function public.terminate_execution_context(uuid, text) is
    'Ends a context, once. Kill the sandbox then, and release the context: that is what bills it. For service_role.';

-- A creator that failed has no sandbox. The hold first, then the row, if no other has it.
create function copilot_internal.fail_execution_context(p_context_id uuid, p_error text)
    returns table (released_usd numeric)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
    v_released numeric := 0;
begin
    perform copilot_internal.require_server('fail a context');
    if octet_length(p_error) > 65536 then
        raise exception 'p_error has at most 64 KiB' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    if v_context.termination_reason = 'failed' then
        return query select 0::numeric;
        return;
    end if;
    if v_context.terminated_at is not null or v_context.sandbox_status <> 'creating' then
        raise exception 'the context is not being created' using errcode = 'PT409',
            detail = v_context.sandbox_status;
    end if;
    if v_context.reservation_id is not null then
        v_released := copilot_internal.release_hold(v_context.tenant_id, v_context.reservation_id, 'failed');
    end if;
    perform from copilot_internal.execution_contexts c
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id and c.terminated_at is null
      and c.sandbox_status = 'creating' for no key update skip locked;
    if not found then
        raise exception 'the context is being changed by another' using errcode = 'PT409', detail = 'changing';
    end if;
    update copilot_internal.execution_contexts c
    set sandbox_status = 'error', terminated_at = clock_timestamp(), termination_reason = 'failed',
        error_message = p_error, released_at = clock_timestamp(), duration_seconds = 0
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id;
    return query select coalesce(v_released, 0);
end $$;
comment on function copilot_internal.fail_execution_context(uuid, text) is 'What public.fail_execution_context does.';

create function public.fail_execution_context(p_context_id uuid, p_error text)
    returns table (released_usd numeric)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.fail_execution_context(p_context_id, p_error);
end;
comment on function public.fail_execution_context(uuid, text) is
    'Ends a context whose sandbox could not be created, and gives back what it set aside. For service_role.';

-- Each look takes its rows' locks, and judges by what it finds under them: one that was renewed meanwhile is left.
create function copilot_internal.claim_expired_execution_contexts(
    p_limit integer default 50, p_lease interval default '2 minutes')
    returns table (context_id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text, reason text)
    language plpgsql volatile security definer rows 50 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := clock_timestamp();
    v_ids uuid[];
begin
    perform copilot_internal.require_server('claim contexts');
    perform copilot_internal.check_limit(p_limit, 1000);
    perform copilot_internal.check_lease(p_lease);
    v_ids := array(
        select c.id from copilot_internal.execution_contexts c
        where c.expires_at <= v_now and c.terminated_at is null
        order by c.expires_at limit p_limit for no key update skip locked);
    v_ids := v_ids || array(
        select c.id from copilot_internal.execution_contexts c
        where c.sandbox_status = 'creating' and c.creating_until <= v_now and c.terminated_at is null
          and c.id <> all (v_ids)
        order by c.creating_until limit p_limit - cardinality(v_ids) for no key update skip locked);
    v_ids := v_ids || array(
        select c.id from copilot_internal.execution_contexts c
        where c.released_at is null and c.terminated_at is not null
          and (c.kill_claimed_until is null or c.kill_claimed_until <= v_now)
        order by c.terminated_at limit p_limit - cardinality(v_ids) for no key update skip locked);
    return query with claimed as (
        update copilot_internal.execution_contexts c
        set kill_claimed_until = v_now + p_lease,
            sandbox_status = case when c.terminated_at is not null then c.sandbox_status
                                  when c.sandbox_status = 'creating' then 'error' else 'terminated' end,
            termination_reason = case when c.terminated_at is not null then c.termination_reason
                                      when c.sandbox_status = 'creating' then 'stuck' else 'expired' end,
            terminated_at = coalesce(c.terminated_at, v_now)
        where c.id = any (v_ids)
        returning c.*
    )
    select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id,
           case when c.termination_reason in ('stuck', 'expired', 'orphan') then c.termination_reason else 'ended' end
    from claimed c order by c.terminated_at, c.id;
end $$;
comment on function copilot_internal.claim_expired_execution_contexts(integer, interval) is
    'What public.claim_expired_execution_contexts does.';

create function public.claim_expired_execution_contexts(
    p_limit integer default 50, p_lease interval default '2 minutes')
    returns table (context_id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text, reason text)
    language sql volatile rows 50
begin atomic
    select * from copilot_internal.claim_expired_execution_contexts(p_limit, p_lease);
end;
comment on function public.claim_expired_execution_contexts(integer, interval) is
    'Ends contexts that expired or got stuck, and gives each worker other sandboxes to kill, for the lease; ended ones '
    'and orphans too. Without a sandbox_id look for the tag. Then release each. For service_role.';

create function copilot_internal.get_expired_execution_contexts(p_limit integer default 50)
    returns table (id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text,
        created_at timestamptz, last_used_at timestamptz, expires_at timestamptz)
    language plpgsql stable security definer rows 50 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('look for expired contexts');
    perform copilot_internal.check_limit(p_limit, 1000);
    return query
        select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id, c.created_at, c.last_used_at,
               c.expires_at
        from copilot_internal.execution_contexts c
        where c.terminated_at is null and c.expires_at < clock_timestamp()
        order by c.expires_at
        limit p_limit;
end $$;
comment on function copilot_internal.get_expired_execution_contexts(integer) is
    'What public.get_expired_execution_contexts does.';

create function public.get_expired_execution_contexts(p_limit integer default 50)
    returns table (id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text,
        created_at timestamptz, last_used_at timestamptz, expires_at timestamptz)
    language sql stable rows 50
begin atomic
    select * from copilot_internal.get_expired_execution_contexts(p_limit);
end;
comment on function public.get_expired_execution_contexts(integer) is
    'Contexts that should have ended and have not, the oldest first. Looks only: workers use '
    'claim_expired_execution_contexts. For service_role.';

create function copilot_internal.cleanup_old_terminated_contexts(
    p_days_old integer default 7, p_limit integer default 100)
    returns table (deleted_count integer, deleted_ids uuid[])
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('delete contexts');
    perform copilot_internal.check_limit(p_limit, 10000);
    if p_days_old is null or p_days_old not between 0 and 3650 then
        raise exception 'p_days_old must be between 0 and 3650' using errcode = 'invalid_parameter_value';
    end if;
    with gone as (
        delete from copilot_internal.execution_contexts c
        where (c.id, c.tenant_id) in (
            select o.id, o.tenant_id from copilot_internal.execution_contexts o
            where o.released_at <= clock_timestamp() - make_interval(days => p_days_old)
              and not copilot_internal.awaits_sandbox(o) and not copilot_internal.explains_a_bill(o)
            order by o.released_at limit p_limit for update skip locked)
        returning c.id
    )
    select count(*), coalesce(array_agg(g.id), '{}') into deleted_count, deleted_ids from gone g;
    return next;
end $$;
comment on function copilot_internal.cleanup_old_terminated_contexts(integer, integer) is
    'What public.cleanup_old_terminated_contexts does.';

create function public.cleanup_old_terminated_contexts(p_days_old integer default 7, p_limit integer default 100)
    returns table (deleted_count integer, deleted_ids uuid[])
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.cleanup_old_terminated_contexts(p_days_old, p_limit);
end;
comment on function public.cleanup_old_terminated_contexts(integer, integer) is
    'Deletes contexts that were released so many days ago. What is not billed yet stays. For service_role.';
