-- Correcting what was recorded.

create function public.refund_cost(
    p_cost_record_id uuid, p_amount_usd numeric, p_request_id text, p_reason text default null,
    p_tenant_id uuid default null)
    returns table (refund_id uuid, refunded_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'refund_cost_wrapper';
comment on function public.refund_cost(uuid, numeric, text, text, uuid) is
    'Takes back a part of a recorded cost (USD), or all of it. It is a row of its own that belongs to the moments of '
    'the original. More than is left of it is refused.';

create function copilot_internal.reprice(
    p_from timestamptz, p_to timestamptz, p_dry_run boolean default false, p_limit bigint default 1000,
    p_cursor text default null)
    returns table (tenant_id uuid, resource_type text, provider text, name text, records bigint, present_usd numeric,
        repriced_usd numeric, adjusted bigint, adjustment_usd numeric, cursor text)
    language c volatile
    as 'MODULE_PATHNAME', 'reprice_wrapper';
comment on function copilot_internal.reprice(timestamptz, timestamptz, boolean, bigint, text) is
    'Corrects computed costs of records that occurred in the range (half-open) by the prices known now, as '
    'cost_corrections. Returns what differs (USD) and, if more is left, a cursor: call again with it until it is '
    'NULL or no row comes. p_dry_run tells.';

create function copilot_internal.adjust_quota(
    p_quota_id uuid, p_delta_usd numeric, p_request_id text, p_reason text default null,
    p_tenant_id uuid default null)
    returns table (adjustment_id uuid, current_spend_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'adjust_quota_wrapper';
comment on function copilot_internal.adjust_quota(uuid, numeric, text, text, uuid) is
    'Corrects what the subject of a quota has spent in the present period by p_delta_usd (USD; below zero gives back, '
    'never more than was spent). As any charge it counts against every quota of the subject and resource, not only '
    'this one.';
