select copilot_internal.begin_script(extversion)
from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations';

-- Who asks for a sandbox beside an erasure does not wait for it, and upkeep keeps no lock of what it passes over.
create function copilot_internal.try_keep_path(p_tenant_id uuid, p_path_id uuid) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id for key share skip locked;
    return found;
end $$;
comment on function copilot_internal.try_keep_path(uuid, uuid) is
    'Keeps a path until the transaction ends, unless it is just being changed or closed. Run as the '
    'owner.';
alter function copilot_internal.try_keep_path(uuid, uuid) owner to tollgate_owner;
revoke all on function copilot_internal.try_keep_path(uuid, uuid)
    from public, anon, authenticated, service_role, metrics_reader, pg_read_all_data;

create or replace function copilot_internal.acquire_execution_context(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null,
    p_sandbox_type text default 'standard', p_region text default null, p_ttl interval default '30 minutes',
    p_estimated_cost_usd numeric default null, p_request_id text default null, p_trace_id text default null,
    p_span_id text default null)
    returns table (outcome text, context_id uuid, sandbox_id text, expires_at timestamptz, reservation_id uuid,
        retry_after_seconds integer, reason text, blocked_scope text, remaining_usd numeric)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_found record;
    v_new copilot_internal.execution_contexts;
    v_claim record;
    v_reason text;
begin
    perform copilot_internal.require_server('acquire a sandbox');
    perform copilot_internal.check_acquire_arguments(p_path_id, p_sandbox_type, p_region, p_ttl, p_estimated_cost_usd,
        array[p_request_id, p_trace_id, p_span_id]);
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
    perform copilot_internal.require_open_path(p_tenant_id, p_conversation_id, p_path_id);
    select f.outcome, (f.context).* into v_found
    from copilot_internal.look_for_context(p_tenant_id, p_path_id, p_request_id, clock_timestamp() + p_ttl) f;
    if v_found.outcome is null then
        v_reason := case
            when not copilot_internal.try_path_lock(p_tenant_id, p_path_id) then 'another request is acquiring it'
            when not copilot_internal.try_keep_path(p_tenant_id, p_path_id)
            then 'the path is being changed or closed' end;
        if v_reason is not null then
            return query select 'wait', null::uuid, null::text, null::timestamptz, null::uuid, 1, v_reason,
                null::text, null::numeric;
            return;
        end if;
        -- The twin may have come to its end between the look and the lock.
        select f.outcome, (f.context).* into v_found
        from copilot_internal.look_for_context(p_tenant_id, p_path_id, p_request_id, clock_timestamp() + p_ttl) f;
    end if;
    if v_found.outcome is not null then
        return query select case v_found.outcome when 'kept' then 'reuse' else v_found.outcome end, v_found.id,
            case when v_found.outcome in ('reuse', 'kept') then v_found.sandbox_id end, v_found.expires_at,
            v_found.reservation_id, case v_found.outcome when 'wait' then 1 end,
            case v_found.outcome when 'wait' then 'another request is creating or changing it'
                                 when 'kept' then 'the quota leaves no room for more time' end,
            null::text, null::numeric;
        return;
    end if;

    v_new.id := gen_random_uuid();
    v_new.tenant_id := p_tenant_id;
    v_new.conversation_id := p_conversation_id;
    v_new.path_id := p_path_id;
    v_new.created_at := clock_timestamp();
    v_new.expires_at := v_new.created_at + p_ttl;
    v_new.max_expires_at := v_new.created_at + interval '24 hours';
    v_new.creating_until := v_new.created_at + interval '2 minutes';
    v_new.user_id := p_user_id;
    v_new.sandbox_type := p_sandbox_type;
    v_new.region := p_region;
    v_new.request_id := p_request_id;
    v_new.trace_id := p_trace_id;
    v_new.span_id := p_span_id;
    v_new.estimated_cost_usd := coalesce(p_estimated_cost_usd, copilot_internal.price_of_context(
        p_tenant_id, p_sandbox_type, p_region, extract(epoch from p_ttl)));
    if v_new.estimated_cost_usd is null then
        if current_setting('pg_tollgate.unpriced', true) is distinct from 'allow' then
            return query select 'refused', null::uuid, null::text, null::timestamptz, null::uuid, null::integer,
                format('no price is known for sandboxes of type "%s"', p_sandbox_type), null::text, null::numeric;
            return;
        end if;
        v_new.estimated_cost_usd := 0;
    end if;
    begin
        select c.* into v_claim from copilot_internal.claim_context(v_new, p_ttl) c;
    exception when sqlstate 'TG001' or unique_violation then
        return query select 'wait', null::uuid, null::text, null::timestamptz, null::uuid, 1,
            'another request is creating or changing it', null::text, null::numeric;
        return;
    end;
    if not v_claim.allowed then
        return query select 'refused', null::uuid, null::text, null::timestamptz, null::uuid,
            v_claim.retry_after_seconds, v_claim.reason, v_claim.blocked_scope, v_claim.remaining_usd;
        return;
    end if;
    return query select 'create', v_new.id, null::text, v_new.expires_at, v_claim.reservation_id, null::integer,
        null::text, null::text, v_claim.remaining_usd;
end $$;

create or replace function copilot_internal.check_new_context() returns trigger
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

create or replace function copilot_internal.try_lock_conversation(p_tenant_id uuid, p_conversation_id uuid)
    returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for update skip locked;
    if not found then
        return false;
    end if;
    -- An append that is open has its path, and a sandbox that is just asked for has the path's key.
    if (select count(*) from (
            select from copilot_internal.conversation_paths p
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id
            order by p.id for update skip locked) l)
       < (select count(*) from copilot_internal.conversation_paths p
          where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id)
    then
        raise exception 'somebody has a path' using errcode = 'TG001';
    end if;
    return true;
exception when sqlstate 'TG001' then
    -- The locks that were taken are given back.
    return false;
end $$;

-- What closes a path waits for a sandbox that is just asked for. Paths are locked before contexts.
create or replace function copilot_internal.lock_paths(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id order by p.id for update;
end $$;
comment on function copilot_internal.lock_paths(uuid, uuid) is
    'Locks the paths of a conversation in their order, with their keys. Run as the owner.';

create or replace function copilot_internal.lock_to_merge(
    p_tenant_id uuid, p_conversation_id uuid, p_source_path_id uuid, p_target_path_id uuid)
    returns copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
    v_source copilot_internal.conversation_paths;
    v_count integer := 0;
begin
    for v_path in
        select p.* from copilot_internal.conversation_paths p
        where p.id in (p_source_path_id, p_target_path_id) and p.tenant_id = p_tenant_id
          and p.conversation_id = p_conversation_id
        order by p.id for update
    loop
        v_count := v_count + 1;
        if v_path.id = p_source_path_id then
            v_source := v_path;
        end if;
    end loop;
    if v_count < 2 then
        perform copilot_internal.refuse_unknown('path');
    end if;
    return v_source;
end $$;

create or replace function copilot_internal.update_path(
    p_tenant_id uuid, p_path_id uuid, p_name text default null, p_description text default null,
    p_is_active boolean default null, p_user_id uuid default null)
    returns table (updated_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    v_path := copilot_internal.readable_path(p_tenant_id, p_path_id, p_user_id);
    perform copilot_internal.access(p_tenant_id, v_path.conversation_id, p_user_id, 'write');
    perform copilot_internal.check_text(p_name, 'p_name', 255);
    perform copilot_internal.check_text(p_description, 'p_description', 2000);
    perform copilot_internal.lock_open_conversation(p_tenant_id, v_path.conversation_id);
    -- With its key: a sandbox that is just asked for is waited for, and ended with the others.
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id for update;
    if p_is_active and v_path.merged_at is not null then
        perform copilot_internal.refuse_path(p_tenant_id, v_path.conversation_id, p_path_id);
    elsif not p_is_active and v_path.is_primary then
        perform copilot_internal.refuse_input('the primary path stays active');
    elsif not p_is_active and v_path.is_active then
        perform copilot_internal.end_contexts(p_tenant_id, v_path.conversation_id, p_path_id, 'path inactive');
    end if;
    return query
        update copilot_internal.conversation_paths p
        set name = coalesce(p_name, p.name), description = coalesce(p_description, p.description),
            is_active = coalesce(p_is_active, p.is_active), updated_at = clock_timestamp()
        where p.id = p_path_id and p.tenant_id = p_tenant_id
        returning p.updated_at;
end $$;

create or replace function copilot_internal.activate_execution_context(p_context_id uuid, p_sandbox_id text)
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
