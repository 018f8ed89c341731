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
    'Corrects computed costs of records that occurred in the range (half-open) by the prices of their moments, as they '
    'are known now. It writes rows of cost_corrections, which quotas count; records stay as they are. Costs that '
    'callers provided stay, and so does what has no price. Returns a row for each tenant and model, or sandbox type '
    '(provider is its region), whose costs differ. It says how many records, their present cost and that by the prices '
    '(USD), how many were corrected now and by how much. A call corrects at most p_limit records (at most 5,000), of '
    'at most 32 tenants, and looks at about 50,000. Where more are left it gives a cursor, the same in all rows: call '
    'again with it until it is NULL, or there is no row. A call that found nothing has one row with the cursor alone. '
    'The sums of all calls add up. p_dry_run only tells. What was refunded is not given back again. Nothing is '
    'corrected twice, whatever the cursor. Refunds in a tenant that is being corrected wait for the call to commit.';

create function copilot_internal.adjust_quota(
    p_quota_id uuid, p_delta_usd numeric, p_request_id text, p_reason text default null)
    returns table (adjustment_id uuid, current_spend_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'adjust_quota_wrapper';
comment on function copilot_internal.adjust_quota(uuid, numeric, text, text) is
    'Corrects what the subject of a quota has spent in the present period by p_delta_usd (USD; below zero gives back, '
    'never more than was spent). As any charge it counts against every quota of the subject and resource, not only '
    'this one.';
