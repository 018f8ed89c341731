-- Who calls. Native, because the answer must come from the invoking role and be cheap enough for a policy.

create function copilot_internal.caller_sees_all() returns boolean
    language c stable parallel restricted as 'MODULE_PATHNAME', 'caller_sees_all_wrapper';
comment on function copilot_internal.caller_sees_all() is
    'True for service_role, metrics_reader and superusers, who read the figures of every tenant. Used inside the views '
    'of metrics.';

create function copilot_internal.caller_tenants() returns uuid[]
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'caller_tenants_wrapper';
comment on function copilot_internal.caller_tenants() is
    'The tenants of which the person named by the verified claims is an active member; empty for any other caller. '
    'Used inside policies and views, wrapped in (select …) so that it runs once a statement.';

create function copilot_internal.caller_open_tenants() returns uuid[]
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'caller_open_tenants_wrapper';
comment on function copilot_internal.caller_open_tenants() is
    'Those of them in which the person may see what other members do and spend. Owners and admins do, and all where '
    'the tenant''s settings say share_details. Used as caller_tenants().';

-- It reads a row: all else that a filter asks comes first.
create function copilot_internal.caller_sees_costs_of(p_tenant_id uuid, p_conversation_id uuid) returns boolean
    language c stable parallel restricted cost 1000
    as 'MODULE_PATHNAME', 'caller_sees_costs_of_wrapper';
comment on function copilot_internal.caller_sees_costs_of(uuid, uuid) is
    'Whether the caller may know what a conversation cost. Owners and admins may, and members who may read it, or '
    'where pg_tollgate_conversations does not store it. Used inside policies and views.';

create function copilot_internal.period_bounds(
    p_period text, p_time_zone text, p_at timestamptz, out period_start timestamptz, out period_end timestamptz)
    returns record language c stable parallel safe as 'MODULE_PATHNAME', 'period_bounds_wrapper';
comment on function copilot_internal.period_bounds(text, text, timestamptz) is
    'The half-open calendar period (hour, day, week, month, year, lifetime) that holds a moment, in a time zone by its '
    'IANA name. NULLs for lifetime. A local day may last 23 or 25 hours; ISO weeks.';

create function copilot_internal.period_parts(
    p_period text, p_time_zone text, p_at timestamptz, out period_start timestamptz, out period_end timestamptz,
    out first_moment timestamptz, out first_day timestamptz, out first_month timestamptz, out last_month timestamptz,
    out last_day timestamptz, out last_moment timestamptz)
    returns record language c stable parallel restricted as 'MODULE_PATHNAME', 'period_parts_wrapper';
comment on function copilot_internal.period_parts(text, text, timestamptz) is
    'period_bounds, in UTC where the time zone is not known. The other moments part quarters of an hour, days, months, '
    'days and quarters, which add up to the period.';

create function copilot_internal.is_time_zone(p_name text) returns boolean
    language c stable strict parallel safe as 'MODULE_PATHNAME', 'is_time_zone_wrapper';
comment on function copilot_internal.is_time_zone(text) is
    'Whether the name is an IANA time zone as pg_timezone_names spells it.';

create function copilot_internal.caller_user() returns uuid
    language c stable parallel restricted as 'MODULE_PATHNAME', 'caller_user_wrapper';
comment on function copilot_internal.caller_user() is
    'The user that the verified claims name, for a role that has authenticated; else NULL.';
