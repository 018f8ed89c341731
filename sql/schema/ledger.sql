-- The ledger: append-only, written by the kernels alone. A charge belongs to (tenant, user, resource, moment), never to
-- a quota. No foreign key leaves these tables: costs outlive what they were spent on.
--
-- No index goes by user, for every charge would pay for it. A row is pending or in the rollups, so pending_costs and
-- cost_rollups tell where a user's rows are: see erase_day() and export_ledger().

create table copilot_internal.llm_cost_records (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    user_id uuid,
    conversation_id uuid,
    path_id uuid,
    task text,
    model_provider text not null,
    model_name text not null,
    input_tokens bigint not null check (input_tokens >= 0),
    output_tokens bigint not null check (output_tokens >= 0),
    usage jsonb,
    service_tier text,
    cost_usd numeric,
    cost_status text not null check (cost_status in ('priced', 'provided', 'estimated', 'unpriced')),
    charge_nanos bigint not null,
    pricing jsonb,
    request_id text,
    reservation_id uuid,
    charged_at timestamptz not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
    trace_id text,
    span_id text,
    metadata jsonb not null default '{}',
    provider_cost_usd numeric,
    reported_cost_usd numeric,
    primary key (id, tenant_id),
    check ((cost_usd is null) = (cost_status = 'unpriced'))
);
create unique index llm_cost_records_request_id_idx
    on copilot_internal.llm_cost_records (tenant_id, request_id) where request_id is not null;
create index llm_cost_records_occurred_at_idx on copilot_internal.llm_cost_records (tenant_id, occurred_at);
comment on table copilot_internal.llm_cost_records is 'Every LLM call that cost something, or whose cost is unknown.';
comment on column copilot_internal.llm_cost_records.id is
    'UUID of version 8: one of sixteen time-ordered sequences; in locked mode one.';
comment on column copilot_internal.llm_cost_records.tenant_id is 'Who pays.';
comment on column copilot_internal.llm_cost_records.user_id is 'Who asked.';
comment on column copilot_internal.llm_cost_records.conversation_id is 'In which conversation.';
comment on column copilot_internal.llm_cost_records.path_id is 'On which path of it.';
comment on column copilot_internal.llm_cost_records.task is 'For which task.';
comment on column copilot_internal.llm_cost_records.model_provider is 'The provider, as the caller spelled it.';
comment on column copilot_internal.llm_cost_records.model_name is 'The model, as the caller spelled it.';
comment on column copilot_internal.llm_cost_records.input_tokens is 'Input tokens, cached ones included.';
comment on column copilot_internal.llm_cost_records.output_tokens is 'Output tokens, reasoning included.';
comment on column copilot_internal.llm_cost_records.usage is 'The parts of the tokens, as the caller gave them.';
comment on column copilot_internal.llm_cost_records.service_tier is 'Such as batches, priority, flex.';
comment on column copilot_internal.llm_cost_records.cost_usd is
    'USD, exact to 1e-12, rounded once, half to even. NULL when no price is known.';
comment on column copilot_internal.llm_cost_records.cost_status is
    'priced (from a price row), provided (by the caller), estimated, or unpriced.';
comment on column copilot_internal.llm_cost_records.charge_nanos is
    'What quotas count: cost_usd in 1e-9 USD, rounded up; 0 when unpriced.';
comment on column copilot_internal.llm_cost_records.pricing is
    'What each part cost and which price row said so; also for a provided cost, as the cost that would have been '
    'computed.';
comment on column copilot_internal.llm_cost_records.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.llm_cost_records.reservation_id is 'The hold that this cost settled.';
comment on column copilot_internal.llm_cost_records.charged_at is 'The moment whose quota periods are charged.';
comment on column copilot_internal.llm_cost_records.occurred_at is
    'When it happened: decides the price and the UTC day it is shown under.';
comment on column copilot_internal.llm_cost_records.recorded_at is 'When the row was written.';
comment on column copilot_internal.llm_cost_records.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.llm_cost_records.span_id is 'OpenTelemetry span.';
comment on column copilot_internal.llm_cost_records.metadata is 'The caller''s own notes.';
comment on column copilot_internal.llm_cost_records.provider_cost_usd is
    'USD that the provider bills: cost_usd without the operator''s markups, or the provided cost; as cost_usd where '
    'it is NULL. Not for members.';
comment on column copilot_internal.llm_cost_records.reported_cost_usd is
    'USD that the report says was billed, where the caller said another cost. No sum counts it. Not for members.';

create table copilot_internal.e2b_cost_records (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    user_id uuid,
    conversation_id uuid,
    path_id uuid,
    sandbox_id text,
    sandbox_type text not null,
    region text,
    duration_seconds numeric not null check (duration_seconds >= 0),
    vcpu_seconds numeric check (vcpu_seconds >= 0),
    memory_gib_seconds numeric check (memory_gib_seconds >= 0),
    cost_usd numeric,
    cost_status text not null check (cost_status in ('priced', 'provided', 'estimated', 'unpriced')),
    charge_nanos bigint not null,
    pricing jsonb,
    request_id text,
    reservation_id uuid,
    charged_at timestamptz not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
    metadata jsonb not null default '{}',
    provider text not null default 'e2b',
    disk_gib_seconds numeric check (disk_gib_seconds >= 0),
    gpu_seconds numeric check (gpu_seconds >= 0),
    creations numeric check (creations >= 0),
    egress_gib numeric check (egress_gib >= 0),
    provider_cost_usd numeric,
    primary key (id, tenant_id),
    check ((cost_usd is null) = (cost_status = 'unpriced'))
);
create unique index e2b_cost_records_request_id_idx
    on copilot_internal.e2b_cost_records (tenant_id, request_id) where request_id is not null;
create index e2b_cost_records_occurred_at_idx on copilot_internal.e2b_cost_records (tenant_id, occurred_at);
comment on table copilot_internal.e2b_cost_records is
    'Every sandbox session that cost something, or whose cost is unknown.';
comment on column copilot_internal.e2b_cost_records.id is
    'UUID of version 8: one of sixteen time-ordered sequences; in locked mode one.';
comment on column copilot_internal.e2b_cost_records.tenant_id is 'Who pays.';
comment on column copilot_internal.e2b_cost_records.user_id is 'Who asked.';
comment on column copilot_internal.e2b_cost_records.conversation_id is 'In which conversation.';
comment on column copilot_internal.e2b_cost_records.path_id is 'On which path of it.';
comment on column copilot_internal.e2b_cost_records.sandbox_id is 'The sandbox.';
comment on column copilot_internal.e2b_cost_records.sandbox_type is 'Its type, as the caller spelled it.';
comment on column copilot_internal.e2b_cost_records.region is 'Where it ran.';
comment on column copilot_internal.e2b_cost_records.duration_seconds is 'Seconds that it ran.';
comment on column copilot_internal.e2b_cost_records.vcpu_seconds is 'vCPU-seconds allocated.';
comment on column copilot_internal.e2b_cost_records.memory_gib_seconds is 'GiB-seconds of memory allocated.';
comment on column copilot_internal.e2b_cost_records.provider is 'Whose sandbox it is.';
comment on column copilot_internal.e2b_cost_records.disk_gib_seconds is 'GiB-seconds of disk allocated.';
comment on column copilot_internal.e2b_cost_records.gpu_seconds is 'GPU-seconds allocated.';
comment on column copilot_internal.e2b_cost_records.creations is 'How often it was created; NULL is not at all.';
comment on column copilot_internal.e2b_cost_records.egress_gib is 'GiB that it sent to the network; NULL is none.';
comment on column copilot_internal.e2b_cost_records.cost_usd is
    'USD, exact to 1e-12, rounded once, half to even. NULL when no price is known.';
comment on column copilot_internal.e2b_cost_records.cost_status is 'priced, provided, estimated or unpriced.';
comment on column copilot_internal.e2b_cost_records.charge_nanos is
    'What quotas count: cost_usd in 1e-9 USD, rounded up; 0 when unpriced.';
comment on column copilot_internal.e2b_cost_records.pricing is 'What each part cost and which price row said so.';
comment on column copilot_internal.e2b_cost_records.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.e2b_cost_records.reservation_id is 'The hold that this cost settled.';
comment on column copilot_internal.e2b_cost_records.charged_at is 'The moment whose quota periods are charged.';
comment on column copilot_internal.e2b_cost_records.occurred_at is
    'When it happened: decides the price and the UTC day it is shown under.';
comment on column copilot_internal.e2b_cost_records.recorded_at is 'When the row was written.';
comment on column copilot_internal.e2b_cost_records.metadata is 'The caller''s own notes.';
comment on column copilot_internal.e2b_cost_records.provider_cost_usd is
    'USD that the provider bills: cost_usd without the operator''s markups, or the provided cost; as cost_usd where '
    'it is NULL. Not for members.';

create table copilot_internal.quota_charges (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid,
    user_id uuid,
    resource_type text not null check (resource_type in ('llm', 'e2b', 'all')),
    cost_usd numeric not null,
    charge_nanos bigint not null,
    request_id text,
    charged_at timestamptz not null,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
    reservation_id uuid,
    reason text,
    record_id uuid
);
create unique index quota_charges_request_id_idx
    on copilot_internal.quota_charges (tenant_id, request_id) nulls not distinct where request_id is not null;
create index quota_charges_charged_at_idx on copilot_internal.quota_charges (tenant_id, charged_at);
create unique index quota_charges_reservation_id_idx
    on copilot_internal.quota_charges (reservation_id, tenant_id) where reservation_id is not null;
create index quota_charges_record_id_idx on copilot_internal.quota_charges (record_id) where record_id is not null;
comment on table copilot_internal.quota_charges is
    'Charges that no cost record explains, as check_and_record_quota_atomic, commit_reservation and adjust_quota make '
    'them. And what the platform alone counts of a record beside what its tenant pays, where '
    'pg_tollgate.platform_counts says provider_cost.';
comment on column copilot_internal.quota_charges.id is
    'UUID of version 8: one of sixteen time-ordered sequences; in locked mode one.';
comment on column copilot_internal.quota_charges.tenant_id is 'Who pays; NULL for a charge to the platform alone.';
comment on column copilot_internal.quota_charges.user_id is 'Who asked.';
comment on column copilot_internal.quota_charges.resource_type is
    'llm or e2b; all is a correction that only quotas of all resources count.';
comment on column copilot_internal.quota_charges.cost_usd is
    'USD, rounded half to even to 1e-12; below zero for a correction.';
comment on column copilot_internal.quota_charges.charge_nanos is 'What quotas count: cost_usd in 1e-9 USD, rounded up.';
comment on column copilot_internal.quota_charges.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.quota_charges.charged_at is 'The moment whose quota periods are charged.';
comment on column copilot_internal.quota_charges.recorded_at is 'When the row was written.';
comment on column copilot_internal.quota_charges.reservation_id is 'The hold that this charge settled.';
comment on column copilot_internal.quota_charges.reason is 'Why, for a correction.';
comment on column copilot_internal.quota_charges.record_id is
    'The cost record whose provider''s cost the platform counts with this row. It is no cost of its own in any view.';

create table copilot_internal.cost_corrections (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    record_id uuid not null,
    source text not null check (source in ('llm', 'e2b')),
    user_id uuid,
    conversation_id uuid,
    provider text not null,
    name text not null,
    cost_usd numeric not null,
    charge_nanos bigint not null,
    request_id text not null,
    reason text,
    charged_at timestamptz not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default pg_catalog.clock_timestamp(),
    provider_cost_usd numeric,
    path_id uuid,
    primary key (id, tenant_id)
);
create unique index cost_corrections_request_id_idx
    on copilot_internal.cost_corrections (tenant_id, request_id);
create index cost_corrections_record_id_idx on copilot_internal.cost_corrections (record_id, tenant_id);
create index cost_corrections_occurred_at_idx on copilot_internal.cost_corrections (tenant_id, occurred_at);
comment on table copilot_internal.cost_corrections is
    'What was taken back of cost records: the ledger is append-only. A correction belongs to the moments of its '
    'record.';
comment on column copilot_internal.cost_corrections.id is
    'UUID of version 8: one of sixteen time-ordered sequences; in locked mode one.';
comment on column copilot_internal.cost_corrections.tenant_id is 'The record''s tenant.';
comment on column copilot_internal.cost_corrections.record_id is 'The cost record.';
comment on column copilot_internal.cost_corrections.source is 'llm or e2b: the record''s table.';
comment on column copilot_internal.cost_corrections.user_id is 'The record''s user.';
comment on column copilot_internal.cost_corrections.conversation_id is 'The record''s conversation.';
comment on column copilot_internal.cost_corrections.path_id is 'The record''s path.';
comment on column copilot_internal.cost_corrections.provider is 'The record''s provider; empty for a sandbox.';
comment on column copilot_internal.cost_corrections.name is 'The record''s model or sandbox type.';
comment on column copilot_internal.cost_corrections.cost_usd is 'USD, below zero for a refund.';
comment on column copilot_internal.cost_corrections.charge_nanos is
    'What quotas count, in 1e-9 USD: the record''s net cost rounded up, after less before. So no sequence of refunds '
    'gives back more than was charged.';
comment on column copilot_internal.cost_corrections.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.cost_corrections.reason is 'Why.';
comment on column copilot_internal.cost_corrections.charged_at is 'The moment whose quota periods the record charged.';
comment on column copilot_internal.cost_corrections.occurred_at is 'When the record says that it happened.';
comment on column copilot_internal.cost_corrections.recorded_at is 'When the row was written.';
comment on column copilot_internal.cost_corrections.provider_cost_usd is
    'USD of what the provider bills; as cost_usd where it is NULL. Not for members.';

-- What purge_tenant leaves of a tenant's ledger, without the tenant: the platform's sums stay what they were.
create table copilot_internal.purged_costs (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    resource_type text not null check (resource_type in ('llm', 'e2b', 'all')),
    charged_at timestamptz not null,
    occurred_at timestamptz not null,
    cost_usd numeric not null,
    charge_nanos bigint not null,
    provider_cost_usd numeric not null,
    unique (resource_type, charged_at, occurred_at)
);
comment on table copilot_internal.purged_costs is
    'What purged tenants have spent together: amounts without a tenant or person, which the platform goes on counting.';
comment on column copilot_internal.purged_costs.id is 'Key.';
comment on column copilot_internal.purged_costs.resource_type is 'llm, e2b or all, as it was charged.';
comment on column copilot_internal.purged_costs.charged_at is 'The quarter of an hour that was charged.';
comment on column copilot_internal.purged_costs.occurred_at is 'When the UTC day of occurred_at began.';
comment on column copilot_internal.purged_costs.cost_usd is 'USD.';
comment on column copilot_internal.purged_costs.charge_nanos is
    'What quotas count, in 1e-9 USD: the sum of what was rounded up row by row.';
comment on column copilot_internal.purged_costs.provider_cost_usd is 'USD that providers have billed.';

-- Each ledger row leaves one narrow row here in the same statement; folding moves it into the rollups. A reader of
-- rollups and pending rows in one snapshot has every committed record exactly once. The nil UUID stands for "the
-- platform" as a tenant and for "no one in particular" as a user, so that keys need no NULL.

create table copilot_internal.pending_costs (
    tenant_id uuid not null,
    record_id uuid not null,
    source text not null check (source in ('llm', 'e2b', 'charge', 'correction', 'fold')),
    user_id uuid not null,
    resource_type text not null,
    charged_at timestamptz not null,
    nanos numeric not null,
    primary key (tenant_id, record_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
comment on table copilot_internal.pending_costs is
    'Ledger rows that no rollup holds yet. Totals are rollups plus these.';
comment on column copilot_internal.pending_costs.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.pending_costs.record_id is 'The ledger row, or a key of its own for a fold.';
comment on column copilot_internal.pending_costs.source is
    'Where record_id points: llm, e2b, charge, correction; fold is a sum that a fold of a tenant left for the '
    'platform.';
comment on column copilot_internal.pending_costs.user_id is 'The user; the nil UUID for none.';
comment on column copilot_internal.pending_costs.resource_type is 'llm or e2b.';
comment on column copilot_internal.pending_costs.charged_at is 'The moment whose quota periods are charged.';
comment on column copilot_internal.pending_costs.nanos is 'What quotas count, in 1e-9 USD.';

create table copilot_internal.queue_starts (
    tenant_id uuid not null,
    since uuid not null,
    first_id uuid not null,
    server_started timestamptz not null,
    database text not null,
    primary key (tenant_id, since)
);
comment on table copilot_internal.queue_starts is
    'Where a tenant''s pending rows start, in the locked mode: sums pass over none that was folded. May be lost at any '
    'time; then they look at all.';
comment on column copilot_internal.queue_starts.tenant_id is
    'The tenant; the nil UUID where others than the kernels wrote pending rows.';
comment on column copilot_internal.queue_starts.since is
    'The place in the write-ahead log at which it was found. The newest of a tenant counts, if it is newer than that '
    'of the nil UUID.';
comment on column copilot_internal.queue_starts.first_id is 'No pending row that counts anything has a lower id.';
comment on column copilot_internal.queue_starts.server_started is 'The run of the server that it holds for.';
comment on column copilot_internal.queue_starts.database is 'The database that it holds for.';

-- To be read newest first, one row of a tenant: see src/pg/queue.rs.
create view copilot_internal.checked_queue_starts with (security_invoker) as
    select s.tenant_id, s.since,
           case when s.server_started = pg_catalog.pg_postmaster_start_time()
                 and s.database = pg_catalog.current_database()
                 and s.since > coalesce((select v.since from copilot_internal.queue_starts v
                                         where v.tenant_id = '00000000-0000-0000-0000-000000000000'
                                         order by v.since desc limit 1), '00000000-0000-0000-0000-000000000000')
                then s.first_id end as first_id
    from copilot_internal.queue_starts s;
comment on view copilot_internal.checked_queue_starts is
    'The starts of queues; first_id is NULL where one does not hold. The newest of a tenant counts.';

create table copilot_internal.quota_rollups (
    tenant_id uuid not null,
    user_id uuid not null,
    resource_type text not null,
    grain text not null check (grain in ('quarter', 'day', 'month')),
    bucket timestamptz not null,
    nanos numeric not null,
    primary key (tenant_id, user_id, resource_type, grain, bucket)
);
comment on table copilot_internal.quota_rollups is
    'Charges summed by quarter of an hour, and again by UTC day and UTC month, for the platform, each tenant and each '
    'user. A period in any time zone is months with days and quarters at their ends.';
comment on column copilot_internal.quota_rollups.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.quota_rollups.user_id is 'The user; the nil UUID for the whole tenant.';
comment on column copilot_internal.quota_rollups.resource_type is 'llm or e2b.';
comment on column copilot_internal.quota_rollups.grain is
    'quarter (15 minutes), day or month (UTC). Each holds everything: add rows of one grain only.';
comment on column copilot_internal.quota_rollups.bucket is 'When the bucket begins.';
comment on column copilot_internal.quota_rollups.nanos is '1e-9 USD.';

create table copilot_internal.cost_rollups (
    tenant_id uuid not null,
    day date not null,
    source text not null check (source in ('llm', 'e2b', 'charge')),
    provider text not null,
    name text not null,
    user_id uuid not null,
    cost_usd numeric not null,
    record_count bigint not null,
    unpriced_count bigint not null,
    input_tokens numeric not null,
    output_tokens numeric not null,
    duration_seconds numeric not null,
    provider_cost_usd numeric not null,
    primary key (tenant_id, day, source, provider, name, user_id)
);
create index cost_rollups_user_id_idx on copilot_internal.cost_rollups (user_id, tenant_id, day);
comment on table copilot_internal.cost_rollups is
    'Costs summed by UTC day of occurred_at, model or sandbox type, and user. What is read often is summed again in '
    'period_rollups, total_rollups and user_rollups.';
comment on column copilot_internal.cost_rollups.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.cost_rollups.day is 'The UTC day.';
comment on column copilot_internal.cost_rollups.source is 'llm, e2b, or charge (no record explains it).';
comment on column copilot_internal.cost_rollups.provider is 'The model''s provider; empty for a sandbox or charge.';
comment on column copilot_internal.cost_rollups.name is 'The model or sandbox type; empty for a charge.';
comment on column copilot_internal.cost_rollups.user_id is 'The user; the nil UUID for none.';
comment on column copilot_internal.cost_rollups.cost_usd is 'USD; unpriced records add nothing and are counted.';
comment on column copilot_internal.cost_rollups.record_count is 'Records.';
comment on column copilot_internal.cost_rollups.unpriced_count is 'Records without a price among them.';
comment on column copilot_internal.cost_rollups.input_tokens is 'Input tokens.';
comment on column copilot_internal.cost_rollups.output_tokens is 'Output tokens.';
comment on column copilot_internal.cost_rollups.duration_seconds is 'Sandbox seconds.';
comment on column copilot_internal.cost_rollups.provider_cost_usd is 'USD that providers bill. Not for members.';

create table copilot_internal.period_rollups (
    tenant_id uuid not null,
    grain text not null check (grain in ('hour', 'day', 'month')),
    bucket timestamptz not null,
    source text not null check (source in ('llm', 'e2b', 'charge')),
    provider text not null,
    name text not null,
    cost_usd numeric not null,
    record_count bigint not null,
    unpriced_count bigint not null,
    input_tokens numeric not null,
    output_tokens numeric not null,
    duration_seconds numeric not null,
    provider_cost_usd numeric not null,
    primary key (tenant_id, grain, bucket, source, provider, name)
);
comment on table copilot_internal.period_rollups is
    'Costs of all of a tenant''s users, summed by model or sandbox type and by UTC hour, day and month of occurred_at. '
    'Any span is months with days and hours at their ends, and parts of two hours of the ledger.';
comment on column copilot_internal.period_rollups.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.period_rollups.grain is
    'hour, day or month (UTC). Each holds everything: add rows of one grain only.';
comment on column copilot_internal.period_rollups.bucket is 'When the bucket begins.';
comment on column copilot_internal.period_rollups.source is 'llm, e2b, or charge (no record explains it).';
comment on column copilot_internal.period_rollups.provider is 'The model''s provider; empty for a sandbox or charge.';
comment on column copilot_internal.period_rollups.name is 'The model or sandbox type; empty for a charge.';
comment on column copilot_internal.period_rollups.cost_usd is 'USD; unpriced records add nothing and are counted.';
comment on column copilot_internal.period_rollups.record_count is 'Records.';
comment on column copilot_internal.period_rollups.unpriced_count is 'Records without a price among them.';
comment on column copilot_internal.period_rollups.input_tokens is 'Input tokens.';
comment on column copilot_internal.period_rollups.output_tokens is 'Output tokens.';
comment on column copilot_internal.period_rollups.duration_seconds is 'Sandbox seconds.';
comment on column copilot_internal.period_rollups.provider_cost_usd is 'USD that providers bill. Not for members.';

create table copilot_internal.total_rollups (
    tenant_id uuid not null,
    source text not null check (source in ('llm', 'e2b', 'charge')),
    provider text not null,
    name text not null,
    cost_usd numeric not null,
    record_count bigint not null,
    unpriced_count bigint not null,
    input_tokens numeric not null,
    output_tokens numeric not null,
    duration_seconds numeric not null,
    provider_cost_usd numeric not null,
    primary key (tenant_id, source, provider, name)
);
comment on table copilot_internal.total_rollups is
    'Costs of all of a tenant''s users, summed by model or sandbox type, all time.';
comment on column copilot_internal.total_rollups.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.total_rollups.source is 'llm, e2b, or charge (no record explains it).';
comment on column copilot_internal.total_rollups.provider is 'The model''s provider; empty for a sandbox or charge.';
comment on column copilot_internal.total_rollups.name is 'The model or sandbox type; empty for a charge.';
comment on column copilot_internal.total_rollups.cost_usd is 'USD; unpriced records add nothing and are counted.';
comment on column copilot_internal.total_rollups.record_count is 'Records.';
comment on column copilot_internal.total_rollups.unpriced_count is 'Records without a price among them.';
comment on column copilot_internal.total_rollups.input_tokens is 'Input tokens.';
comment on column copilot_internal.total_rollups.output_tokens is 'Output tokens.';
comment on column copilot_internal.total_rollups.duration_seconds is 'Sandbox seconds.';
comment on column copilot_internal.total_rollups.provider_cost_usd is 'USD that providers bill. Not for members.';

create table copilot_internal.user_rollups (
    tenant_id uuid not null,
    user_id uuid not null,
    source text not null check (source in ('llm', 'e2b', 'charge')),
    cost_usd numeric not null,
    record_count bigint not null,
    unpriced_count bigint not null,
    primary key (tenant_id, user_id, source)
);
comment on table copilot_internal.user_rollups is 'Costs summed by user, all time.';
comment on column copilot_internal.user_rollups.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.user_rollups.user_id is 'The user; the nil UUID for none.';
comment on column copilot_internal.user_rollups.source is 'llm, e2b, or charge (no record explains it).';
comment on column copilot_internal.user_rollups.cost_usd is 'USD; unpriced records add nothing and are counted.';
comment on column copilot_internal.user_rollups.record_count is 'Records.';
comment on column copilot_internal.user_rollups.unpriced_count is 'Records without a price among them.';

create table copilot_internal.conversation_rollups (
    tenant_id uuid not null,
    conversation_id uuid not null,
    path_id uuid not null,
    source text not null check (source in ('llm', 'e2b')),
    cost_usd numeric not null,
    record_count bigint not null,
    unpriced_count bigint not null,
    primary key (tenant_id, conversation_id, path_id, source)
);
comment on table copilot_internal.conversation_rollups is 'Costs summed by conversation and path, all time.';
comment on column copilot_internal.conversation_rollups.tenant_id is 'The tenant.';
comment on column copilot_internal.conversation_rollups.conversation_id is 'The conversation; the nil UUID for none.';
comment on column copilot_internal.conversation_rollups.path_id is 'The path; the nil UUID for none.';
comment on column copilot_internal.conversation_rollups.source is 'llm or e2b.';
comment on column copilot_internal.conversation_rollups.cost_usd is
    'USD; unpriced records add nothing and are counted.';
comment on column copilot_internal.conversation_rollups.record_count is 'Records.';
comment on column copilot_internal.conversation_rollups.unpriced_count is 'Records without a price among them.';

-- A ledger row in the terms of the rollups, one text for the fold, the views and verify(). Each part reads one table
-- and joins nothing: only then does the planner look a record up in it by its id.
create view copilot_internal.ledger_lines with (security_invoker) as
    select r.tenant_id, r.id as record_id, 'llm'::text as source, r.occurred_at,
           r.model_provider as provider, r.model_name as name,
           coalesce(r.user_id, '00000000-0000-0000-0000-000000000000') as user_id, r.conversation_id, r.path_id,
           'llm'::text as resource_type, r.charged_at, r.charge_nanos,
           r.cost_usd, r.input_tokens, r.output_tokens, 0::numeric as duration_seconds,
           'llm'::text as written_in, 1 as records, coalesce(r.provider_cost_usd, r.cost_usd) as provider_cost_usd,
           r.tenant_id as payer_id
    from copilot_internal.llm_cost_records r
    union all
    select r.tenant_id, r.id, 'e2b', r.occurred_at, '', r.sandbox_type,
           coalesce(r.user_id, '00000000-0000-0000-0000-000000000000'), r.conversation_id, r.path_id,
           'e2b', r.charged_at, r.charge_nanos, r.cost_usd, 0::bigint, 0::bigint, r.duration_seconds, 'e2b', 1,
           coalesce(r.provider_cost_usd, r.cost_usd), r.tenant_id
    from copilot_internal.e2b_cost_records r
    union all
    select coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'), r.id, 'charge', r.charged_at, '', '',
           coalesce(r.user_id, '00000000-0000-0000-0000-000000000000'), null::uuid, null::uuid,
           r.resource_type, r.charged_at, r.charge_nanos, case when r.record_id is null then r.cost_usd else 0 end,
           0::bigint, 0::bigint, 0::numeric, 'charge', (r.record_id is null)::integer,
           case when r.record_id is null then r.cost_usd else 0 end, r.tenant_id
    from copilot_internal.quota_charges r
    union all
    select r.tenant_id, r.id, r.source, r.occurred_at, r.provider, r.name,
           coalesce(r.user_id, '00000000-0000-0000-0000-000000000000'), r.conversation_id, r.path_id,
           r.source, r.charged_at, r.charge_nanos, r.cost_usd, 0::bigint, 0::bigint, 0::numeric, 'correction', 0,
           coalesce(r.provider_cost_usd, r.cost_usd), r.tenant_id
    from copilot_internal.cost_corrections r
    union all
    select '00000000-0000-0000-0000-000000000000', r.id, 'charge', r.occurred_at, '', '',
           '00000000-0000-0000-0000-000000000000', null::uuid, null::uuid,
           r.resource_type, r.charged_at, r.charge_nanos, r.cost_usd, 0::bigint, 0::bigint, 0::numeric, 'purged', 0,
           r.provider_cost_usd, null::uuid
    from copilot_internal.purged_costs r
    union all
    select coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'), r.id, r.source, r.occurred_at, r.provider,
           r.name, coalesce(r.user_id, '00000000-0000-0000-0000-000000000000'), r.conversation_id, r.path_id,
           r.resource_type, r.charged_at, r.charge_nanos, r.cost_usd, r.input_tokens, r.output_tokens, 0::numeric,
           'retired', r.records, r.provider_cost_usd, r.tenant_id
    from copilot_internal.retired_costs r;
comment on view copilot_internal.ledger_lines is
    'Every ledger row in the terms of the rollups, with the nil UUID for the platform and for no user.';
comment on column copilot_internal.ledger_lines.tenant_id is 'The tenant; the nil UUID for the platform.';
comment on column copilot_internal.ledger_lines.record_id is 'The ledger row.';
comment on column copilot_internal.ledger_lines.source is 'llm, e2b or charge: what it is shown as.';
comment on column copilot_internal.ledger_lines.occurred_at is 'When it happened; its UTC day is where it is shown.';
comment on column copilot_internal.ledger_lines.user_id is 'The user; the nil UUID for none.';
comment on column copilot_internal.ledger_lines.conversation_id is 'The conversation.';
comment on column copilot_internal.ledger_lines.path_id is 'The path.';
comment on column copilot_internal.ledger_lines.resource_type is 'llm or e2b.';
comment on column copilot_internal.ledger_lines.charged_at is 'The moment whose quota periods are charged.';
comment on column copilot_internal.ledger_lines.charge_nanos is '1e-9 USD.';
comment on column copilot_internal.ledger_lines.cost_usd is 'USD, or NULL when unpriced.';
comment on column copilot_internal.ledger_lines.input_tokens is 'Input tokens.';
comment on column copilot_internal.ledger_lines.output_tokens is 'Output tokens.';
comment on column copilot_internal.ledger_lines.duration_seconds is 'Sandbox seconds.';
comment on column copilot_internal.ledger_lines.written_in is
    'llm, e2b, charge or correction: the ledger table, as pending_costs.source names it; purged or '
    'retired.';
comment on column copilot_internal.ledger_lines.records is
    '1, or as many as were retired. 0 for what is no record of its own: a correction, what the platform counts of a '
    'record, what purged tenants spent.';
comment on column copilot_internal.ledger_lines.provider_cost_usd is 'USD that the provider bills.';
comment on column copilot_internal.ledger_lines.payer_id is
    'The tenant as the table has it, NULL for the platform: by it a tenant''s charges are found by index.';
