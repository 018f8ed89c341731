-- Acquiring a sandbox: looked for, else claimed before it is made.

-- What a path has at this moment. It never waits: a row that somebody is changing is asked for again in a second.
create function copilot_internal.look_for_context(
    p_tenant_id uuid, p_path_id uuid, p_request_id text, p_expires_at timestamptz,
    out outcome text, out context copilot_internal.execution_contexts)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_now constant timestamptz := clock_timestamp();
begin
    select c.* into context from copilot_internal.execution_contexts c
    where c.path_id = p_path_id and c.tenant_id = p_tenant_id and c.terminated_at is null;
    if not found then
        return;
    end if;
    if context.sandbox_status = 'creating' and context.creating_until > v_now then
        outcome := case when context.request_id = p_request_id then 'create' else 'wait' end;
    elsif context.sandbox_status = 'ready' and context.expires_at > v_now then
        outcome := copilot_internal.renew_context(context, p_expires_at);
        select c.* into context from copilot_internal.execution_contexts c
        where c.id = context.id and c.tenant_id = p_tenant_id;
    end if;
end $$;
comment on function copilot_internal.look_for_context(uuid, uuid, text, timestamptz) is
    'The unended context of a path and what to do about it: reuse, wait, create (again). NULL where it has expired or '
    'is stuck, and where there is none. Run as the owner.';

-- The hold first, then the row, if it can be locked at once. A quota that refuses more time ends nothing before its
-- time: what is ready is used until it expires. For less than ten seconds more no quota is asked, and nothing moves.
create function copilot_internal.renew_context(
    p_context copilot_internal.execution_contexts, p_expires_at timestamptz) returns text
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_expires_at timestamptz := greatest(p_context.expires_at, least(p_expires_at, p_context.max_expires_at));
    v_price numeric;
    v_outcome text := 'reuse';
begin
    if v_expires_at < p_context.expires_at + interval '10 seconds' then
        v_expires_at := p_context.expires_at;
    end if;
    v_price := copilot_internal.price_of_renewal(p_context, v_expires_at);
    -- What the application's store inserted has no hold: it asks for the added time as it asked for the first.
    if p_context.reservation_id is null and v_expires_at > p_context.expires_at and not (
        select r.allowed from copilot_internal.room_for_context(p_context.tenant_id, coalesce(
            copilot_internal.price_of_context(p_context.tenant_id, p_context.sandbox_type, p_context.region,
                extract(epoch from v_expires_at - p_context.expires_at)), 0), p_context.user_id) r)
    then
        v_expires_at := p_context.expires_at;
        v_outcome := 'kept';
    end if;
    begin
        if v_price > 0 and p_context.reservation_id is not null
           and not copilot_internal.extend_hold(p_context.tenant_id, p_context.reservation_id,
                       v_expires_at - clock_timestamp() + interval '15 minutes', v_price)
        then
            v_expires_at := p_context.expires_at;
            v_price := 0;
            v_outcome := 'kept';
        end if;
        perform from copilot_internal.execution_contexts c
        where c.id = p_context.id and c.tenant_id = p_context.tenant_id and c.terminated_at is null
          and c.sandbox_status = 'ready' and c.expires_at > clock_timestamp()
        for no key update skip locked;
        if not found then
            raise exception 'somebody has the row' using errcode = 'TG001';
        end if;
    exception when sqlstate 'TG001' or object_not_in_prerequisite_state then
        -- In the second case somebody has just billed it, and its hold is settled.
        return 'wait';
    end;
    update copilot_internal.execution_contexts c
    set last_used_at = clock_timestamp(), expires_at = greatest(c.expires_at, v_expires_at),
        estimated_cost_usd = c.estimated_cost_usd + v_price
    where c.id = p_context.id and c.tenant_id = p_context.tenant_id;
    return v_outcome;
end $$;
comment on function copilot_internal.renew_context(copilot_internal.execution_contexts, timestamptz) is
    'Gives a ready context more time, with its hold: reuse; kept, where the quota refuses; wait, where somebody else '
    'is changing it. Run as the owner.';

create function copilot_internal.insert_context(
    p_context copilot_internal.execution_contexts, p_reservation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    insert into copilot_internal.execution_contexts
        (id, tenant_id, conversation_id, path_id, sandbox_status, created_at, last_used_at, expires_at,
         max_expires_at, creating_until, user_id, sandbox_type, region, reservation_id, estimated_cost_usd,
         request_id, trace_id, span_id)
    values (p_context.id, p_context.tenant_id, p_context.conversation_id, p_context.path_id, 'creating',
            p_context.created_at, p_context.created_at, p_context.expires_at, p_context.max_expires_at,
            p_context.creating_until, p_context.user_id, p_context.sandbox_type, p_context.region, p_reservation_id,
            p_context.estimated_cost_usd, p_context.request_id, p_context.trace_id, p_context.span_id);
end $$;
comment on function copilot_internal.insert_context(copilot_internal.execution_contexts, uuid) is
    'Writes the row of a sandbox to be made; 23505 where the path has one. Run as the owner.';

-- The hold, then the row. What must not stay is rolled back by the caller's subtransaction.
create function copilot_internal.claim_context(p_context copilot_internal.execution_contexts, p_ttl interval)
    returns table (allowed boolean, reservation_id uuid, blocked_scope text, remaining_usd numeric,
        retry_after_seconds integer, reason text)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_old uuid;
begin
    select h.* into allowed, reservation_id, blocked_scope, remaining_usd, retry_after_seconds, reason
    from copilot_internal.hold_for_context(p_context.tenant_id, p_context.id, p_context.estimated_cost_usd,
                                           p_context.user_id, p_ttl + interval '15 minutes') h;
    if not allowed then
        -- What took the room may be a twin that this transaction's snapshot does not show, and the unique index does.
        begin
            perform copilot_internal.insert_context(p_context, p_context.id);
            raise exception 'no twin' using errcode = 'TG002';
        exception when sqlstate 'TG002' then
            return next;
            return;
        end;
    end if;
    -- One that has expired, or got stuck, makes room if it can be locked at once. An insert beside one that somebody
    -- is just ending would wait for them.
    select c.id into v_old from copilot_internal.execution_contexts c
    where c.path_id = p_context.path_id and c.tenant_id = p_context.tenant_id and c.terminated_at is null;
    if found then
        perform from copilot_internal.execution_contexts c
        where c.id = v_old and c.tenant_id = p_context.tenant_id and c.terminated_at is null
          and case c.sandbox_status when 'creating' then c.creating_until else c.expires_at end <= clock_timestamp()
        for no key update skip locked;
        if not found then
            raise exception 'somebody has the row' using errcode = 'TG001';
        end if;
        update copilot_internal.execution_contexts c
        set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
            terminated_at = clock_timestamp(),
            termination_reason = case c.sandbox_status when 'creating' then 'stuck' else 'expired' end
        where c.id = v_old and c.tenant_id = p_context.tenant_id;
    end if;
    perform copilot_internal.insert_context(p_context, reservation_id);
    return next;
end $$;
comment on function copilot_internal.claim_context(copilot_internal.execution_contexts, interval) is
    'Sets money aside and writes the row of a sandbox to be made. TG001 or 23505 where another has the path. Run as '
    'the owner.';

create function copilot_internal.check_acquire_arguments(
    p_path_id uuid, p_sandbox_type text, p_region text, p_ttl interval, p_estimated_cost_usd numeric,
    p_texts text[]) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_path_id is null then
        raise exception 'p_path_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if p_ttl is null or p_ttl not between interval '1 minute' and interval '1 hour' then
        raise exception 'p_ttl must be between 1 and 60 minutes' using errcode = 'invalid_parameter_value';
    end if;
    if p_sandbox_type is null or length(p_sandbox_type) not between 1 and 200 or length(p_region) not between 1 and 200
    then
        raise exception 'p_sandbox_type and p_region must have 1 to 200 characters'
            using errcode = 'invalid_parameter_value';
    end if;
    if p_estimated_cost_usd < 0 or p_estimated_cost_usd >= 'Infinity' then
        raise exception 'p_estimated_cost_usd must be finite and not negative'
            using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from unnest(p_texts) t (text) where length(t.text) not between 1 and 200) then
        raise exception 'p_request_id, p_trace_id and p_span_id must have 1 to 200 characters'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_acquire_arguments(uuid, text, text, interval, numeric, text[]) is
    'Raises 22023 for what no sandbox is acquired with.';

-- A path that is written to may have a sandbox. It is looked at without a lock: an append may hold its row.
create function copilot_internal.require_open_path(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid)
    returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id;
    if not found then
        raise exception 'there is no such path' using errcode = 'no_data_found';
    end if;
    if not v_path.is_active or v_path.archived_at is not null or v_path.merged_at is not null then
        raise exception 'the path is closed' using errcode = 'PT409',
            detail = case when v_path.archived_at is not null then 'archived'
                          when v_path.merged_at is not null then 'merged' else 'inactive' end;
    end if;
end $$;
comment on function copilot_internal.require_open_path(uuid, uuid, uuid) is
    'P0002 for a path that is not there, PT409 for one that is closed. Run as the owner.';

-- What changes or closes a path locks its key, and an append does not. Nobody who has set money aside waits for them.
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

create function copilot_internal.acquire_execution_context(
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
comment on function copilot_internal.acquire_execution_context(
    uuid, uuid, uuid, uuid, text, text, interval, numeric, text, text, text) is
    'What public.acquire_execution_context does.';

create function public.acquire_execution_context(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null,
    p_sandbox_type text default 'standard', p_region text default null, p_ttl interval default '30 minutes',
    p_estimated_cost_usd numeric default null, p_request_id text default null, p_trace_id text default null,
    p_span_id text default null)
    returns table (outcome text, context_id uuid, sandbox_id text, expires_at timestamptz, reservation_id uuid,
        retry_after_seconds integer, reason text, blocked_scope text, remaining_usd numeric)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.acquire_execution_context(p_tenant_id, p_conversation_id, p_path_id, p_user_id,
        p_sandbox_type, p_region, p_ttl, p_estimated_cost_usd, p_request_id, p_trace_id, p_span_id);
end;
comment on function public.acquire_execution_context(
    uuid, uuid, uuid, uuid, text, text, interval, numeric, text, text, text) is
    'A path''s sandbox: reuse it; create one, money is set aside; wait, another request is creating it; refused by a '
    'quota. Give the sandbox p_ttl (1 to 60 minutes) as time-out and context_id as tag. For service_role.';
