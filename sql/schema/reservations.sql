-- Holds: what is set aside for an operation whose cost is known only afterwards. Written by the kernels alone. A hold
-- counts as long as it is held and has not expired; nothing has to sweep for that.

create table copilot_internal.quota_reservations (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    user_id uuid,
    resource_type text not null,
    request_id text not null,
    requested_usd numeric not null,
    ttl interval not null,
    reserved_usd numeric not null,
    held_nanos bigint not null,
    reserved_at timestamptz not null,
    expires_at timestamptz not null,
    state text not null check (state in ('held', 'committed', 'released', 'expired')),
    charged_usd numeric,
    released_usd numeric,
    overrun_usd numeric,
    late boolean,
    reason text,
    resolved_at timestamptz,
    metadata jsonb not null,
    primary key (id, tenant_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create unique index quota_reservations_request_id_idx on copilot_internal.quota_reservations (tenant_id, request_id);
create index quota_reservations_held_idx on copilot_internal.quota_reservations (tenant_id, expires_at)
    where state = 'held';
create index quota_reservations_user_id_idx
    on copilot_internal.quota_reservations (user_id, tenant_id, id) where user_id is not null;
create index quota_reservations_expires_at_idx on copilot_internal.quota_reservations (expires_at)
    where state = 'held';
comment on table copilot_internal.quota_reservations is
    'Holds: amounts set aside by reserve_quota until they are committed, released or expired. The key begins with the '
    'id, by which alone a caller may name it.';
comment on column copilot_internal.quota_reservations.id is
    'UUID of version 8: one of sixteen time-ordered sequences; in locked mode one.';
comment on column copilot_internal.quota_reservations.tenant_id is 'Who will pay.';
comment on column copilot_internal.quota_reservations.user_id is 'Who asked.';
comment on column copilot_internal.quota_reservations.resource_type is 'llm or e2b.';
comment on column copilot_internal.quota_reservations.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless. Remembered for as long as the row is there.';
comment on column copilot_internal.quota_reservations.requested_usd is 'USD that were asked for at first.';
comment on column copilot_internal.quota_reservations.ttl is 'For how long it was asked for at first.';
comment on column copilot_internal.quota_reservations.reserved_usd is
    'USD that it sets aside, extensions included; what it did, once it is resolved.';
comment on column copilot_internal.quota_reservations.held_nanos is
    'The same as quotas count it: in 1e-9 USD, rounded up.';
comment on column copilot_internal.quota_reservations.reserved_at is
    'The moment whose quota periods hold it and are charged in the end.';
comment on column copilot_internal.quota_reservations.expires_at is 'From then on it does not count.';
comment on column copilot_internal.quota_reservations.state is
    'held (until expires_at), committed, released, or expired: found so by maintain() or a release. A cost that comes '
    'late commits it all the same.';
comment on column copilot_internal.quota_reservations.charged_usd is 'USD that it cost, when committed.';
comment on column copilot_internal.quota_reservations.released_usd is 'USD that it set aside for nothing.';
comment on column copilot_internal.quota_reservations.overrun_usd is 'USD that it cost beyond what it had set aside.';
comment on column copilot_internal.quota_reservations.late is 'Whether it had expired when it was committed.';
comment on column copilot_internal.quota_reservations.reason is 'Why it was released.';
comment on column copilot_internal.quota_reservations.resolved_at is
    'When it was committed, released or found expired.';
comment on column copilot_internal.quota_reservations.metadata is 'The caller''s own notes.';

create table copilot_internal.reservation_extensions (
    tenant_id uuid not null,
    request_id text not null,
    reservation_id uuid not null,
    ttl interval,
    additional_usd numeric,
    reserved_usd numeric not null,
    expires_at timestamptz not null,
    extended_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (tenant_id, request_id)
);
create index reservation_extensions_reservation_id_idx
    on copilot_internal.reservation_extensions (reservation_id, tenant_id);
comment on table copilot_internal.reservation_extensions is
    'What extend_reservation granted to calls with a request id.';
comment on column copilot_internal.reservation_extensions.tenant_id is 'The tenant.';
comment on column copilot_internal.reservation_extensions.request_id is 'The caller''s key, unique per tenant.';
comment on column copilot_internal.reservation_extensions.reservation_id is 'The hold.';
comment on column copilot_internal.reservation_extensions.ttl is 'For how long from then on, if asked for.';
comment on column copilot_internal.reservation_extensions.additional_usd is 'USD in addition, if asked for.';
comment on column copilot_internal.reservation_extensions.reserved_usd is 'USD that the hold sets aside since.';
comment on column copilot_internal.reservation_extensions.expires_at is 'When it expires since.';
comment on column copilot_internal.reservation_extensions.extended_at is 'When it was extended.';

create function copilot_internal.expire_reservations(p_limit bigint) returns bigint
    language c volatile strict as 'MODULE_PATHNAME', 'expire_reservations_wrapper';
comment on function copilot_internal.expire_reservations(bigint) is
    'Marks at most p_limit holds as expired whose time has passed, and returns how many. Nothing that counts depends '
    'on it. Run as the owner.';

-- The grants let no one change what was charged. This is for roles that were granted more, as by pg_write_all_data.
create function copilot_internal.keep_ledger() returns trigger
    language c as 'MODULE_PATHNAME', 'keep_ledger_wrapper';
comment on function copilot_internal.keep_ledger() is
    'Refuses an UPDATE, DELETE or TRUNCATE of a ledger table except by its owner and superusers, whatever was granted. '
    'Kernels, folding and maintenance run as the owner. Corrections are rows of their own.';

do $$
declare
    v_table text;
begin
    for v_table in
        select unnest(array['llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections',
            'purged_costs', 'retired_costs', 'quota_reservations', 'reservation_extensions', 'pending_costs',
            'quota_rollups', 'cost_rollups', 'period_rollups', 'total_rollups', 'user_rollups', 'conversation_rollups'])
    loop
        execute pg_catalog.format('create trigger keep_ledger before update or delete or truncate '
            'on copilot_internal.%I for each statement execute function copilot_internal.keep_ledger()', v_table);
    end loop;
end $$;
