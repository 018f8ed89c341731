-- Setting amounts aside, and settling them.

create function public.reserve_quota(
    p_tenant_id uuid, p_resource_type text, p_amount_usd numeric, p_request_id text, p_user_id uuid default null,
    p_ttl interval default '10 minutes', p_metadata jsonb default '{}', p_log_denial boolean default false)
    returns table (allowed boolean, reservation_id uuid, reserved_usd numeric, expires_at timestamptz, status text,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, current_spend_usd numeric,
        remaining_usd numeric, period_end timestamptz, retry_after_seconds integer, reason text, replayed boolean,
        retryable boolean, state text)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'reserve_quota_wrapper';
comment on function public.reserve_quota(uuid, text, numeric, text, uuid, interval, jsonb, boolean) is
    'Sets an amount (USD, an upper bound) aside for an operation whose cost is known only afterwards, if every quota '
    'allows it; else says why. It counts until committed, released or expired (1 second to 8 days). The same request '
    'id gives the first answer.';

create function public.commit_reservation(
    p_reservation_id uuid, p_actual_cost_usd numeric, p_overrun text default 'record', p_tenant_id uuid default null)
    returns table (status text, charged_usd numeric, released_usd numeric, overrun_usd numeric, late boolean,
        replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'commit_reservation_wrapper';
comment on function public.commit_reservation(uuid, numeric, text, uuid) is
    'Charges what the operation of a reservation cost (USD), to the moment of the reservation, and frees the rest. '
    'More than was reserved, or too late, is charged all the same; with p_overrun => reject more is refused (status '
    'rejected) and the hold stays.';

create function public.release_reservation(
    p_reservation_id uuid, p_reason text default null, p_tenant_id uuid default null)
    returns table (status text, released_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'release_reservation_wrapper';
comment on function public.release_reservation(uuid, text, uuid) is
    'Frees a reservation whose operation cost nothing. One that has expired says so: expired, 0.';

create function public.extend_reservation(
    p_reservation_id uuid, p_ttl interval default null, p_additional_usd numeric default null,
    p_request_id text default null, p_tenant_id uuid default null)
    returns table (allowed boolean, reserved_usd numeric, expires_at timestamptz, status text, reason text,
        retryable boolean, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'extend_reservation_wrapper';
comment on function public.extend_reservation(uuid, interval, numeric, text, uuid) is
    'Lets a reservation last for p_ttl from now on (never shorter than before), and sets more (USD) aside where every '
    'quota allows it. One that has expired is admitted again in full, for p_ttl or as long as at first, or refused.';
