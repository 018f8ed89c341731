-- The bill: one a context, however often it is released.

create function copilot_internal.billed_context(p_context copilot_internal.execution_contexts)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric)
    language sql stable rows 1
begin atomic
    select r.id, pg_catalog.trim_scale(r.cost_usd), r.cost_status, r.duration_seconds
    from copilot_internal.e2b_cost_records r
    where r.tenant_id = (p_context).tenant_id and r.request_id = copilot_internal.bill_key(p_context);
end;
comment on function copilot_internal.billed_context(copilot_internal.execution_contexts) is
    'What a context was billed, if it was. Run as the owner.';

-- A sandbox ends by its own time-out, however late its killer comes.
create function copilot_internal.context_seconds(p_context copilot_internal.execution_contexts) returns numeric
    language sql volatile
begin atomic
    select case when (p_context).ready_at is not null then pg_catalog.trim_scale(greatest(extract(epoch from
        least(pg_catalog.clock_timestamp(), (p_context).expires_at, (p_context).max_expires_at)
        - (p_context).ready_at), 0)) end;
end;
comment on function copilot_internal.context_seconds(copilot_internal.execution_contexts) is
    'Seconds that its sandbox can have run; NULL for one that was never activated.';

create function copilot_internal.is_billed_elsewhere(
    p_context copilot_internal.execution_contexts, p_cost_record_id uuid) returns boolean
    language sql stable
begin atomic
    select exists (
        select from copilot_internal.execution_contexts o
        where o.conversation_id = (p_context).conversation_id and o.tenant_id = (p_context).tenant_id
          and o.cost_record_id = p_cost_record_id and o.id <> (p_context).id);
end;
comment on function copilot_internal.is_billed_elsewhere(copilot_internal.execution_contexts, uuid) is
    'Whether another context has this bill: an orphan, or what it came too late for. Run as the owner.';

create function copilot_internal.release_context(
    p_context copilot_internal.execution_contexts, p_duration_seconds numeric, p_vcpu_seconds numeric,
    p_memory_gib_seconds numeric)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_seconds constant numeric := coalesce(p_duration_seconds, copilot_internal.context_seconds(p_context));
    v_bill record;
begin
    if v_seconds is null then
        -- Never activated. A release that was told a duration may have billed it, and found the row taken. The bill of
        -- an orphan is not its own.
        select b.*, true as replayed into v_bill from copilot_internal.billed_context(p_context) b
        where not copilot_internal.is_billed_elsewhere(p_context, b.cost_record_id);
        if not found then
            -- No sandbox was found.
            if p_context.reservation_id is not null then
                perform copilot_internal.release_hold(p_context.tenant_id, p_context.reservation_id, 'no sandbox');
            end if;
            select null::uuid as cost_record_id, 0::numeric as cost_usd, null::text as cost_status,
                   0::numeric as duration_seconds, false as replayed into v_bill;
        end if;
    else
        begin
            select b.cost_record_id, b.cost_usd, b.cost_status, v_seconds as duration_seconds, b.replayed into v_bill
            from copilot_internal.bill_context(p_context, v_seconds, p_vcpu_seconds, p_memory_gib_seconds) b;
        exception when unique_violation then
            -- Another has just billed it, with its own clock.
            select b.*, true as replayed into v_bill from copilot_internal.billed_context(p_context) b;
            if not found then
                raise exception 'another has just billed the context' using errcode = 'serialization_failure',
                    hint = 'Try again in a new transaction.';
            end if;
        end;
    end if;
    -- The other of two that are billed once was first: this one has a hold of its own.
    if v_bill.replayed and exists (
        select from copilot_internal.quota_reservations h
        where h.id = p_context.reservation_id and h.tenant_id = p_context.tenant_id and h.state = 'held')
    then
        perform copilot_internal.release_hold(p_context.tenant_id, p_context.reservation_id, 'billed before');
    end if;
    -- Nobody is waited for with the quota's lock in hand: if somebody has the row, the next release marks it, and
    -- finds the bill.
    perform from copilot_internal.execution_contexts c
    where c.id = p_context.id and c.tenant_id = p_context.tenant_id and c.released_at is null
    for no key update skip locked;
    if found then
        update copilot_internal.execution_contexts c
        set released_at = clock_timestamp(),
            duration_seconds = case when copilot_internal.is_billed_elsewhere(c, v_bill.cost_record_id) then 0
                                    else v_bill.duration_seconds end,
            cost_record_id = v_bill.cost_record_id, kill_claimed_until = null,
            sandbox_status = case when c.terminated_at is null then 'terminated' else c.sandbox_status end,
            terminated_at = coalesce(c.terminated_at, clock_timestamp()),
            termination_reason = coalesce(c.termination_reason, 'released')
        where c.id = p_context.id and c.tenant_id = p_context.tenant_id;
    end if;
    return query select v_bill.cost_record_id, v_bill.cost_usd, v_bill.cost_status, v_bill.duration_seconds,
        v_bill.replayed;
end $$;
comment on function copilot_internal.release_context(
    copilot_internal.execution_contexts, numeric, numeric, numeric) is
    'Bills a context whose sandbox is gone, and marks it. Run as the owner.';

create function copilot_internal.release_execution_context(
    p_context_id uuid, p_duration_seconds numeric default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('release a context');
    if least(p_duration_seconds, p_vcpu_seconds, p_memory_gib_seconds) < 0
       or greatest(p_duration_seconds, p_vcpu_seconds, p_memory_gib_seconds) >= 'Infinity'
    then
        raise exception 'quantities must be finite and not negative' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    if v_context.released_at is not null then
        return query
            select v_context.cost_record_id,
                   coalesce(b.cost_usd, case when v_context.cost_record_id is null then 0 end), b.cost_status,
                   coalesce(b.duration_seconds, v_context.duration_seconds), true
            from (select) o
            left join copilot_internal.billed_context(v_context) b on b.cost_record_id = v_context.cost_record_id;
        return;
    end if;
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating' then
        raise exception 'the context is being created' using errcode = 'PT409', detail = 'creating',
            hint = 'fail_execution_context ends it, or terminate_execution_context.';
    end if;
    return query select r.* from copilot_internal.release_context(v_context, p_duration_seconds, p_vcpu_seconds,
        p_memory_gib_seconds) r;
end $$;
comment on function copilot_internal.release_execution_context(uuid, numeric, numeric, numeric) is
    'What public.release_execution_context does.';

create function public.release_execution_context(
    p_context_id uuid, p_duration_seconds numeric default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.release_execution_context(p_context_id, p_duration_seconds, p_vcpu_seconds,
        p_memory_gib_seconds);
end;
comment on function public.release_execution_context(uuid, numeric, numeric, numeric) is
    'Bills a context whose sandbox is gone: once, and without a duration no longer than the sandbox''s own time-out. '
    'Ends it too. One that was never activated costs nothing. For service_role.';
