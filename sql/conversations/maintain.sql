-- Upkeep: what time does to conversations. Each task is bounded and safe to repeat; pg_cron or a worker calls it.

-- A stream that broke off leaves its draft open. What was written of it stays.
create function copilot_internal.close_drafts(p_limit integer) returns bigint
    language sql volatile
begin atomic
    with closed as (
        update copilot_internal.conversation_messages m
        set finished_at = pg_catalog.clock_timestamp(), metadata = m.metadata || '{"aborted": true}'
        where (m.id, m.tenant_id) in (
            select d.id, d.tenant_id from copilot_internal.conversation_messages d
            where d.finished_at is null and d.created_at < pg_catalog.clock_timestamp() - interval '1 hour'
            order by d.created_at limit p_limit for no key update skip locked)
        returning 1
    )
    select count(*) from closed;
end;
comment on function copilot_internal.close_drafts(integer) is
    'Finishes drafts that are older than an hour as aborted; returns how many. Run as the owner.';

-- Who appends does not wait for the conversation's row; what was passed over is made good here.
create function copilot_internal.repair_activity(p_limit integer) returns bigint
    language sql volatile
begin atomic
    with late as (
        select c.id, c.tenant_id, max(p.last_message_at) as last_message_at
        from copilot_internal.conversation_paths p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        where p.activity_day >= (pg_catalog.clock_timestamp() at time zone 'UTC')::date - 1
          and p.last_message_at > coalesce(c.last_message_at, '-infinity') and c.erasing_at is null
        group by c.id, c.tenant_id
        limit p_limit
    ), locked as (
        select c.id, c.tenant_id, l.last_message_at
        from copilot_internal.conversations c join late l on l.id = c.id and l.tenant_id = c.tenant_id
        for no key update of c skip locked
    ), repaired as (
        update copilot_internal.conversations c
        set last_message_at = greatest(c.last_message_at, l.last_message_at)
        from locked l where l.id = c.id and l.tenant_id = c.tenant_id
        returning 1
    )
    select count(*) from repaired;
end;
comment on function copilot_internal.repair_activity(integer) is
    'Brings the last activity of conversations up to that of their paths; returns how many. Run as the owner.';

-- A day after no sandbox can run any more, one that no killer came for is billed by the same rule.
create function copilot_internal.release_forgotten(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_context copilot_internal.execution_contexts;
    v_done bigint := 0;
begin
    for v_context in
        select c.* from copilot_internal.execution_contexts c
        where c.released_at is null and c.terminated_at is not null
          and c.max_expires_at < clock_timestamp() - interval '1 day'
        union all
        select c.* from copilot_internal.execution_contexts c
        where c.terminated_at is null and c.expires_at < clock_timestamp() - interval '1 day'
          and c.max_expires_at < clock_timestamp() - interval '1 day'
        limit p_limit
    loop
        perform from copilot_internal.release_context(v_context, null, null, null);
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.release_forgotten(integer) is
    'Bills contexts whose sandboxes must have ended a day ago; returns how many. Run as the owner.';

create function copilot_internal.maintain_conversations(p_limit integer default 10000)
    returns table (task text, done bigint)
    language plpgsql volatile security definer rows 7 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('maintain conversations');
    perform copilot_internal.check_limit(p_limit, 100000);
    -- Money first: what comes after it locks rows.
    task := 'release';
    done := copilot_internal.release_forgotten(least(p_limit, 1000));
    return next;
    task := 'redact';
    done := copilot_internal.redact_late_costs(p_limit);
    return next;
    task := 'drafts';
    done := copilot_internal.close_drafts(p_limit);
    return next;
    task := 'activity';
    done := copilot_internal.repair_activity(p_limit);
    return next;
    task := 'archive';
    done := copilot_internal.archive_inactive(least(p_limit, 1000));
    return next;
    task := 'retention';
    done := copilot_internal.mark_expired(least(p_limit, 1000));
    return next;
    task := 'erase';
    done := copilot_internal.continue_erasures(p_limit);
    return next;
end $$;
comment on function copilot_internal.maintain_conversations(integer) is 'What public.maintain_conversations does.';

create function public.maintain_conversations(p_limit integer default 10000)
    returns table (task text, done bigint)
    language sql volatile rows 7
begin atomic
    select * from copilot_internal.maintain_conversations(p_limit);
end;
comment on function public.maintain_conversations(integer) is
    'Upkeep of conversations, about p_limit rows a task: bills forgotten sandboxes, closes drafts, archives and erases '
    'by the settings, goes on with erasures. It empties costs that come late. Safe to call at any time. For '
    'service_role.';
