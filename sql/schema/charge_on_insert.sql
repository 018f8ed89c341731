-- Charging for rows of the application's own tables.

-- By a name that no one else can take: the owner of schema public may put another function there.
create function copilot_internal.charge(
    p_scope text, p_scope_id uuid, p_cost_usd numeric, p_resource_type text, p_tenant_id uuid, p_request_id text,
    p_log_denial boolean)
    returns table (allowed boolean, current_spend_usd numeric, limit_usd numeric, remaining_usd numeric,
        utilization_percent numeric, reason text, period text, period_end timestamptz, status text, replayed boolean,
        retryable boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'check_and_record_quota_atomic_wrapper';
comment on function copilot_internal.charge(text, uuid, numeric, text, uuid, text, boolean) is
    'check_and_record_quota_atomic, for charge_on_insert. Its kernel asks who calls. Run as the owner.';

create function copilot_internal.count_charged_row() returns bigint
    language c volatile as 'MODULE_PATHNAME', 'count_charged_row_wrapper';
comment on function copilot_internal.count_charged_row() is
    'Counts a row that charge_on_insert charges to a user, and returns how many the transaction has. Run as the owner.';

create function copilot_internal.charge_on_insert() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Until the transaction ends others may wait for it.
    c_most_rows constant bigint := 1000;
    v_literal constant boolean := tg_argv[2] ~ '^[0-9]+(\.[0-9]+)?$';
    v_role constant name := case current_setting('role') when 'none' then session_user else current_setting('role') end;
    -- Whether a person inserts: every role without the server's rights, also one that the application has made.
    v_is_person constant boolean := not pg_has_role(v_role, 'service_role', 'usage');
    v_person uuid;
    v_member_role text;
    v_wrong text;
    v_query text;
    v_values text[];
    v_tenant_id uuid;
    v_user_id uuid;
    v_request_id text;
    v_charge record;
    v_details jsonb;
    v_wait integer;
begin
    if tg_op <> 'INSERT' or tg_level <> 'ROW' then
        raise exception 'charge_on_insert must be fired by an insert, for each row' using errcode = '39P01';
    end if;
    -- At commit the role and the claims may be others than those of the insert.
    if (select t.tgdeferrable from pg_trigger t where t.tgrelid = tg_relid and t.tgname = tg_name) then
        raise exception 'charge_on_insert must not be deferrable: at commit nobody knows who inserted the row'
            using errcode = '39P01';
    end if;
    if tg_nargs not between 3 and 5 then
        raise exception 'charge_on_insert takes 3 to 5 arguments: the tenant''s column, the resource type, the amount '
            'or its column, the user''s column, the request id''s column'
            using errcode = 'invalid_parameter_value';
    end if;
    -- Only types of Postgres' own are turned into text here: another one might bring a cast, which would run with the
    -- rights of this function's owner.
    select min(format('charge_on_insert needs a column %I of type %s', c.name, array_to_string(c.types, ' or ')))
               filter (where c.name is not null and a.atttypid is null),
           format('select array[%s]', string_agg(
               case when c.name is null then 'null' else format('($1).%I::text', c.name) end, ', ' order by c.place))
    into v_wrong, v_query
    from (values (1, tg_argv[0], '{uuid}'::regtype[]),
                 (2, case when not v_literal then tg_argv[2] end, '{numeric,bigint,integer}'),
                 (3, nullif(tg_argv[3], ''), '{uuid}'),
                 (4, nullif(tg_argv[4], ''), '{text,varchar,uuid,bigint,integer}')) as c (place, name, types)
    left join pg_attribute a
      on a.attrelid = tg_relid and a.attname = c.name and a.attnum > 0 and not a.attisdropped
     and a.atttypid = any (c.types::oid[]);
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    execute v_query into v_values using new;
    v_tenant_id := v_values[1]::uuid;
    v_user_id := v_values[3]::uuid;
    v_request_id := v_values[4];
    if v_tenant_id is null then
        raise exception 'the row''s % must not be NULL', tg_argv[0] using errcode = 'invalid_parameter_value';
    end if;

    -- Row level security is the table's own affair; should it be missing, a user still cannot charge another.
    if v_is_person then
        v_person := case when pg_has_role(v_role, 'authenticated', 'usage') then copilot_internal.caller_user() end;
        select m.role into v_member_role from copilot_internal.active_memberships m
        where m.tenant_id = v_tenant_id and m.user_id = v_person;
        if v_member_role is null or v_user_id <> v_person then
            raise exception 'the row would charge somebody else: its tenant must be the caller''s, '
                'and its user the caller'
                using errcode = 'insufficient_privilege';
        end if;
        if v_member_role = 'viewer' then
            raise exception 'a viewer spends nothing' using errcode = 'insufficient_privilege';
        end if;
        if copilot_internal.count_charged_row() > c_most_rows then
            raise exception 'a transaction of a user charges at most % rows', c_most_rows
                using errcode = 'configuration_limit_exceeded', hint = 'Insert fewer rows at once.';
        end if;
        -- Without a user the row would pass by the limits of this one.
        v_user_id := v_person;
        -- A name space of the person's own: an id that the client chooses meets none of the server's.
        v_request_id := 'row of ' || v_person || ': ' || v_request_id;
    end if;

    select * into v_charge from copilot_internal.charge(
        case when v_user_id is null then 'tenant' else 'user' end, coalesce(v_user_id, v_tenant_id),
        case when v_literal then tg_argv[2] else v_values[2] end::numeric, tg_argv[1]::text, v_tenant_id,
        v_request_id, false);
    -- The server repeats itself. A person's second row would be free.
    if v_is_person and v_charge.replayed then
        raise exception 'this request id was charged for another row' using errcode = 'unique_violation',
            hint = 'Use a new request id for a new row.';
    end if;
    if not v_charge.allowed then
        -- Of the platform's quota a person is told that it exists.
        v_details := case
            when v_is_person and v_charge.reason ~ '(^| )the platform''s ' then
                jsonb_build_object('reason', 'the platform''s quota leaves no room for this')
            else jsonb_build_object('reason', v_charge.reason, 'limit_usd', v_charge.limit_usd, 'current_spend_usd',
                v_charge.current_spend_usd, 'remaining_usd', v_charge.remaining_usd, 'period_end', v_charge.period_end)
            end;
        v_wait := ceil(extract(epoch from v_charge.period_end - clock_timestamp()))::integer;
        perform copilot_internal.raise_refusal(v_details,
            case when v_wait is not null and v_charge.status <> 'SUSPENDED' then greatest(v_wait, 1) end);
    end if;
    return new;
end $$;
comment on function copilot_internal.charge_on_insert() is
    'Trigger function, AFTER INSERT: each row charges a tenant; a refused charge refuses the row (PT429). Arguments: '
    'the tenant''s column, the resource type, the amount (USD) or its column; if wanted the user''s column (or ''''), '
    'and a request id''s.';
