-- Prices and named estimates. An operator's rows are data and are dumped; what ships with the extension sits in tables
-- that are not, so that a restore neither fails nor doubles anything. The operator's rows win.

create table copilot_internal.model_pricing (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    model_provider text not null check (pg_catalog.length(model_provider) between 1 and 200),
    model_name text not null check (pg_catalog.length(model_name) between 1 and 200),
    input_per_million_usd numeric check (input_per_million_usd >= 0 and input_per_million_usd <= 1000000000),
    output_per_million_usd numeric check (output_per_million_usd >= 0 and output_per_million_usd <= 1000000000),
    components jsonb not null default '{}' check (pg_catalog.jsonb_typeof(components) = 'object'),
    effective_from timestamptz not null default pg_catalog.clock_timestamp(),
    effective_to timestamptz check (effective_to > effective_from),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    imported boolean not null default false,
    source text check (pg_catalog.length(source) between 1 and 200),
    list_key text check (pg_catalog.length(list_key) between 1 and 200),
    details jsonb not null default '{}' check (pg_catalog.jsonb_typeof(details) = 'object'),
    missing_since timestamptz,
    list_name text check (pg_catalog.length(list_name) between 1 and 200),
    entry jsonb check (pg_catalog.jsonb_typeof(entry) = 'object'),
    named_by text check (pg_catalog.length(named_by) between 1 and 200),
    unique nulls not distinct (model_provider, model_name, tenant_id, list_name, effective_from),
    check (imported = (list_name is not null)),
    check (not imported or (list_key is not null and source is not null and tenant_id is null)),
    check (imported or (list_key is null and missing_since is null and entry is null and named_by is null)),
    -- The prices of one entry of a list follow each other. (A range of one hash stands for equality, which would need
    -- another extension. No name of a list holds the character between the two.)
    constraint model_pricing_history exclude using gist (
        pg_catalog.numrange(pg_catalog.hashtextextended(list_name || E'\x01' || list_key, 0)::numeric,
            pg_catalog.hashtextextended(list_name || E'\x01' || list_key, 0)::numeric, '[]') with &&,
        pg_catalog.tstzrange(effective_from, effective_to) with &&) where (imported)
);
comment on table copilot_internal.model_pricing is
    'Model prices, effective-dated: the operator''s and those of imported lists. Of the rows whose range holds a '
    'moment, the last to begin is in force. A tenant''s goes before one for all, that before imported lists '
    '(LiteLLM''s last), those before shipped.';
comment on column copilot_internal.model_pricing.id is 'Stored with every cost that this row priced.';
comment on column copilot_internal.model_pricing.tenant_id is 'The tenant that this price is for; NULL for all.';
comment on column copilot_internal.model_pricing.model_provider is
    'The provider, spelled as in the calls that record costs.';
comment on column copilot_internal.model_pricing.model_name is 'The model, spelled as in the calls that record costs.';
comment on column copilot_internal.model_pricing.input_per_million_usd is
    'USD per million input tokens. NULL is unknown, 0 is free.';
comment on column copilot_internal.model_pricing.output_per_million_usd is
    'USD per million output tokens. NULL is unknown, 0 is free.';
comment on column copilot_internal.model_pricing.components is
    'Prices of parts, USD for one (token, image, second, page, request …), by the names and in the shapes of '
    'LiteLLM''s list. Among them are cache_read_input_token_cost, its endings for thresholds and tiers, '
    'tiered_pricing, off_peak_pricing, multipliers.';
comment on column copilot_internal.model_pricing.effective_from is 'From when (inclusive) the price applies.';
comment on column copilot_internal.model_pricing.effective_to is
    'Until when (exclusive); NULL until a later row begins.';
comment on column copilot_internal.model_pricing.created_at is 'When the row was made.';
comment on column copilot_internal.model_pricing.imported is
    'True for an entry of a list that import_model_pricing read.';
comment on column copilot_internal.model_pricing.source is
    'Where the price is from: what the import was told, or what the operator noted.';
comment on column copilot_internal.model_pricing.list_key is
    'The entry''s key in the list, with the provider before it where the list has it so.';
comment on column copilot_internal.model_pricing.details is
    'What the list says besides prices: mode, limits (max_output_tokens bounds an estimate), abilities.';
comment on column copilot_internal.model_pricing.missing_since is
    'Since which import the list has no longer had the entry. Its price stays.';
comment on column copilot_internal.model_pricing.list_name is
    'The list that an imported price is of, such as litellm; NULL for the operator''s own.';
comment on column copilot_internal.model_pricing.entry is
    'The entry as it stands in the list, where it goes by the price of another (alias_of); else NULL.';
comment on column copilot_internal.model_pricing.named_by is
    'The key of the entry that gives this name among its aliases, and its price; NULL for an entry of its own.';
-- Names are looked up whole, and by what they begin with.
create index model_pricing_name_idx on copilot_internal.model_pricing (pg_catalog.lower(model_name) text_pattern_ops);
create index model_pricing_list_key_idx on copilot_internal.model_pricing (list_name, list_key) where imported;
create index model_pricing_tenant_id_idx on copilot_internal.model_pricing (tenant_id) where tenant_id is not null;

create table copilot_internal.model_aliases (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    model_provider text not null check (pg_catalog.length(model_provider) between 1 and 200),
    model_name text not null check (pg_catalog.length(model_name) between 1 and 200),
    price_provider text not null check (pg_catalog.length(price_provider) between 1 and 200),
    price_model text not null check (pg_catalog.length(price_model) between 1 and 200)
);
create unique index model_aliases_name_idx
    on copilot_internal.model_aliases (pg_catalog.lower(model_provider), pg_catalog.lower(model_name));
comment on table copilot_internal.model_aliases is
    'Models that are priced by the price of another, as the operator says: a deployment''s name, a gateway''s. A price '
    'of the model''s own goes before; dates, regions, case and provider families need no row.';
comment on column copilot_internal.model_aliases.id is 'Key.';
comment on column copilot_internal.model_aliases.model_provider is 'The provider as calls name it, in any case.';
comment on column copilot_internal.model_aliases.model_name is 'The model as calls name it, in any case.';
comment on column copilot_internal.model_aliases.price_provider is 'The provider of the price.';
comment on column copilot_internal.model_aliases.price_model is
    'The model of the price. It is not looked up as an alias again.';

create table copilot_internal.price_markups (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    model_provider text check (pg_catalog.length(model_provider) between 1 and 200),
    model_name text check (pg_catalog.length(model_name) between 1 and 200),
    factor numeric not null check (factor >= 0 and factor <= 1000 and pg_catalog.scale(factor) <= 6),
    effective_from timestamptz not null default pg_catalog.clock_timestamp(),
    effective_to timestamptz check (effective_to > effective_from),
    step smallint not null default 1 check (step >= 0 and step <= 9),
    on_provided boolean not null default false,
    unique nulls not distinct (tenant_id, model_provider, model_name, step, effective_from),
    check (not (on_provided and step = 0))
);
comment on table copilot_internal.price_markups is
    'What computed costs are multiplied by for a tenant: 1.2 adds a fifth. In each step the most specific row in '
    'force counts (tenant, then model, then provider), of these the last to begin. The steps are multiplied, and the '
    'product is rounded once.';
comment on column copilot_internal.price_markups.id is 'Key.';
comment on column copilot_internal.price_markups.tenant_id is 'Whose costs; NULL for all.';
comment on column copilot_internal.price_markups.model_provider is 'Of which provider; NULL for all.';
comment on column copilot_internal.price_markups.model_name is 'Of which model; NULL for all.';
comment on column copilot_internal.price_markups.factor is 'The factor, at most six decimals.';
comment on column copilot_internal.price_markups.effective_from is 'From when (inclusive), by the moment of the call.';
comment on column copilot_internal.price_markups.effective_to is 'Until when (exclusive).';
comment on column copilot_internal.price_markups.step is
    '0 is what the provider bills, against its list (0.9 for a tenth off): it gives provider_cost_usd. 1 to 9 are what '
    'the tenant pays, such as 1 for a margin, 2 for a discount.';
comment on column copilot_internal.price_markups.on_provided is
    'Whether it multiplies costs that a caller or gateway provides, too. Those are what the provider has billed.';

create table copilot_internal.e2b_pricing (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    sandbox_type text not null check (pg_catalog.length(sandbox_type) between 1 and 200),
    region text check (pg_catalog.length(region) between 1 and 200),
    per_second_usd numeric check (per_second_usd >= 0 and per_second_usd <= 1000),
    vcpu_second_usd numeric check (vcpu_second_usd >= 0 and vcpu_second_usd <= 1000),
    memory_gib_second_usd numeric check (memory_gib_second_usd >= 0 and memory_gib_second_usd <= 1000),
    effective_from timestamptz not null default pg_catalog.clock_timestamp(),
    effective_to timestamptz check (effective_to > effective_from),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    provider text not null default 'e2b' check (pg_catalog.length(provider) between 1 and 200),
    disk_gib_second_usd numeric check (disk_gib_second_usd >= 0 and disk_gib_second_usd <= 1000),
    gpu_second_usd numeric check (gpu_second_usd >= 0 and gpu_second_usd <= 1000),
    creation_usd numeric check (creation_usd >= 0 and creation_usd <= 1000),
    egress_gib_usd numeric check (egress_gib_usd >= 0 and egress_gib_usd <= 1000),
    unique nulls not distinct (provider, sandbox_type, region, tenant_id, effective_from)
);
comment on table copilot_internal.e2b_pricing is
    'Sandbox prices of the operator, effective-dated as model_pricing. A cost is the sum over the prices given: USD '
    'for a second of duration, vCPU, GiB or GPU, a creation, a GiB of egress. A row for the region goes before one for '
    'all.';
comment on column copilot_internal.e2b_pricing.provider is 'Whose sandbox it is, in any case.';
comment on column copilot_internal.e2b_pricing.disk_gib_second_usd is
    'USD per GiB-second of disk; needs p_disk_gib_seconds.';
comment on column copilot_internal.e2b_pricing.gpu_second_usd is 'USD per GPU-second; needs p_gpu_seconds.';
comment on column copilot_internal.e2b_pricing.creation_usd is 'USD per creation (p_creations; none unless told).';
comment on column copilot_internal.e2b_pricing.egress_gib_usd is
    'USD per GiB sent to the network (p_egress_gib; none unless told).';
comment on column copilot_internal.e2b_pricing.id is 'Stored with every cost that this row priced.';
comment on column copilot_internal.e2b_pricing.tenant_id is 'The tenant that this price is for; NULL for all.';
comment on column copilot_internal.e2b_pricing.sandbox_type is
    'The sandbox type, such as standard, gpu, high-memory, high-cpu.';
comment on column copilot_internal.e2b_pricing.region is 'The region; NULL for all.';
comment on column copilot_internal.e2b_pricing.per_second_usd is 'USD per second of duration.';
comment on column copilot_internal.e2b_pricing.vcpu_second_usd is 'USD per vCPU-second; needs p_vcpu_seconds.';
comment on column copilot_internal.e2b_pricing.memory_gib_second_usd is
    'USD per GiB-second of memory; needs p_memory_gib_seconds.';
comment on column copilot_internal.e2b_pricing.effective_from is 'From when (inclusive) the price applies.';
comment on column copilot_internal.e2b_pricing.effective_to is 'Until when (exclusive); NULL until a later row begins.';
comment on column copilot_internal.e2b_pricing.created_at is 'When the row was made.';
create index e2b_pricing_tenant_id_idx on copilot_internal.e2b_pricing (tenant_id) where tenant_id is not null;

create table copilot_internal.llm_cost_estimates (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    model_provider text not null check (pg_catalog.length(model_provider) between 1 and 200),
    model_name text not null check (pg_catalog.length(model_name) between 1 and 200),
    operation_type text not null default 'chat' check (pg_catalog.length(operation_type) between 1 and 200),
    confidence_level text not null default 'conservative'
        check (confidence_level in ('conservative', 'typical', 'optimistic')),
    estimated_cost_usd numeric not null check (estimated_cost_usd >= 0 and estimated_cost_usd <= 1000000000),
    effective_from timestamptz not null default pg_catalog.clock_timestamp(),
    effective_to timestamptz check (effective_to > effective_from),
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    from_history boolean not null default false check (not from_history or tenant_id is not null),
    unique nulls not distinct
        (model_provider, model_name, operation_type, confidence_level, tenant_id, from_history, effective_from)
);
create unique index llm_cost_estimates_history_idx on copilot_internal.llm_cost_estimates
    (tenant_id, model_provider, model_name, operation_type, confidence_level) where from_history;
comment on table copilot_internal.llm_cost_estimates is
    'What one operation of a kind costs, as an operator estimates it or, for a tenant, as its last thirty days tell. '
    'The operator''s goes before history, that before the estimate that the shipped token profile gives.';
comment on column copilot_internal.llm_cost_estimates.id is 'Key.';
comment on column copilot_internal.llm_cost_estimates.model_provider is 'The provider.';
comment on column copilot_internal.llm_cost_estimates.model_name is 'The model.';
comment on column copilot_internal.llm_cost_estimates.operation_type is 'The kind of operation, such as chat.';
comment on column copilot_internal.llm_cost_estimates.confidence_level is
    'conservative (rarely exceeded), typical, or optimistic.';
comment on column copilot_internal.llm_cost_estimates.estimated_cost_usd is 'USD for one operation.';
comment on column copilot_internal.llm_cost_estimates.effective_from is 'From when (inclusive).';
comment on column copilot_internal.llm_cost_estimates.effective_to is 'Until when (exclusive).';
comment on column copilot_internal.llm_cost_estimates.tenant_id is 'The tenant that it is for; NULL for all.';
comment on column copilot_internal.llm_cost_estimates.from_history is
    'True where maintain() found it in the tenant''s records of that task: the median is typical, the 95th percentile '
    'conservative, the 5th optimistic. Write your own row beside it to go before it.';

create table copilot_internal.e2b_cost_estimates (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    sandbox_type text not null check (pg_catalog.length(sandbox_type) between 1 and 200),
    region text not null default 'us-east-1' check (pg_catalog.length(region) between 1 and 200),
    operation_type text not null default 'standard_session' check (pg_catalog.length(operation_type) between 1 and 200),
    confidence_level text not null default 'conservative'
        check (confidence_level in ('conservative', 'typical', 'optimistic')),
    estimated_cost_usd numeric not null check (estimated_cost_usd >= 0 and estimated_cost_usd <= 1000000000),
    effective_from timestamptz not null default pg_catalog.clock_timestamp(),
    effective_to timestamptz check (effective_to > effective_from),
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    from_history boolean not null default false check (not from_history or tenant_id is not null),
    unique nulls not distinct
        (sandbox_type, region, operation_type, confidence_level, tenant_id, from_history, effective_from)
);
create unique index e2b_cost_estimates_history_idx on copilot_internal.e2b_cost_estimates
    (tenant_id, sandbox_type, region, operation_type, confidence_level) where from_history;
comment on table copilot_internal.e2b_cost_estimates is
    'What one sandbox session of a kind costs, as an operator estimates it. Goes before the estimate from the shipped '
    'durations.';
comment on column copilot_internal.e2b_cost_estimates.id is 'Key.';
comment on column copilot_internal.e2b_cost_estimates.sandbox_type is 'The sandbox type.';
comment on column copilot_internal.e2b_cost_estimates.region is 'The region.';
comment on column copilot_internal.e2b_cost_estimates.operation_type is
    'The kind of session, such as standard_session.';
comment on column copilot_internal.e2b_cost_estimates.confidence_level is
    'conservative (rarely exceeded), typical, or optimistic.';
comment on column copilot_internal.e2b_cost_estimates.estimated_cost_usd is 'USD for one session.';
comment on column copilot_internal.e2b_cost_estimates.effective_from is 'From when (inclusive).';
comment on column copilot_internal.e2b_cost_estimates.effective_to is 'Until when (exclusive).';
comment on column copilot_internal.e2b_cost_estimates.tenant_id is 'The tenant that it is for; NULL for all.';
comment on column copilot_internal.e2b_cost_estimates.from_history is
    'True where maintain() found it in the tenant''s sessions: the median is typical, the 95th percentile '
    'conservative, the 5th optimistic. Its operation type is standard_session.';

-- What ships. Not dumped: an upgrade of the extension may change it, and a restore gets that of the version restored
-- to.

create table copilot_internal.shipped_model_prices (
    model_provider text not null,
    model_name text not null,
    input_per_million_usd numeric not null,
    output_per_million_usd numeric not null,
    components jsonb not null,
    max_output_tokens bigint,
    primary key (model_provider, model_name)
);
comment on table copilot_internal.shipped_model_prices is
    'List prices that come with the extension, from LiteLLM''s price list (MIT), package 1.109.1, 2026. Without dates: '
    'add rows to model_pricing for history or to differ.';
comment on column copilot_internal.shipped_model_prices.model_provider is 'The provider, as LiteLLM names it.';
comment on column copilot_internal.shipped_model_prices.model_name is 'The model, as LiteLLM names it.';
comment on column copilot_internal.shipped_model_prices.input_per_million_usd is 'USD per million input tokens.';
comment on column copilot_internal.shipped_model_prices.output_per_million_usd is 'USD per million output tokens.';
comment on column copilot_internal.shipped_model_prices.components is
    'Prices of parts, USD for one, by the names of model_pricing.components.';
comment on column copilot_internal.shipped_model_prices.max_output_tokens is
    'The longest answer, which bounds an estimate.';
insert into copilot_internal.shipped_model_prices
    (model_provider, model_name, input_per_million_usd, output_per_million_usd, components, max_output_tokens) values
    ('openai', 'gpt-4o', 2.5, 10, '{"cache_read_input_token_cost": 0.00000125, '
        '"cache_read_input_token_cost_priority": 0.000002125, "input_cost_per_token_batches": 0.00000125, '
        '"input_cost_per_token_priority": 0.00000425, "output_cost_per_token_batches": 0.000005, '
        '"output_cost_per_token_priority": 0.000017}', 16384),
    ('openai', 'gpt-4o-mini', 0.15, 0.6, '{"cache_read_input_token_cost": 0.000000075, '
        '"cache_read_input_token_cost_priority": 0.000000125, "input_cost_per_token_batches": 0.000000075, '
        '"input_cost_per_token_priority": 0.00000025, "output_cost_per_token_batches": 0.0000003, '
        '"output_cost_per_token_priority": 0.000001}', 16384),
    ('openai', 'gpt-4.1', 2, 8, '{"cache_read_input_token_cost": 0.0000005, '
        '"cache_read_input_token_cost_priority": 0.000000875, "input_cost_per_token_batches": 0.000001, '
        '"input_cost_per_token_priority": 0.0000035, "output_cost_per_token_batches": 0.000004, '
        '"output_cost_per_token_priority": 0.000014}', 32768),
    ('openai', 'gpt-4.1-mini', 0.4, 1.6, '{"cache_read_input_token_cost": 0.0000001, '
        '"cache_read_input_token_cost_priority": 0.000000175, "input_cost_per_token_batches": 0.0000002, '
        '"input_cost_per_token_priority": 0.0000007, "output_cost_per_token_batches": 0.0000008, '
        '"output_cost_per_token_priority": 0.0000028}', 32768),
    ('openai', 'gpt-4.1-nano', 0.1, 0.4, '{"cache_read_input_token_cost": 0.000000025, '
        '"cache_read_input_token_cost_priority": 0.00000005, "input_cost_per_token_batches": 0.00000005, '
        '"input_cost_per_token_priority": 0.0000002, "output_cost_per_token_batches": 0.0000002, '
        '"output_cost_per_token_priority": 0.0000008}', 32768),
    ('openai', 'o3', 2, 8, '{"cache_read_input_token_cost": 0.0000005, '
        '"cache_read_input_token_cost_flex": 0.00000025, "cache_read_input_token_cost_priority": 0.000000875, '
        '"input_cost_per_token_batches": 0.000001, "input_cost_per_token_flex": 0.000001, '
        '"input_cost_per_token_priority": 0.0000035, "output_cost_per_token_batches": 0.000004, '
        '"output_cost_per_token_flex": 0.000004, "output_cost_per_token_priority": 0.000014}', 100000),
    ('openai', 'o3-mini', 1.1, 4.4, '{"cache_read_input_token_cost": 0.00000055, '
        '"input_cost_per_token_batches": 0.00000055, "output_cost_per_token_batches": 0.0000022}', 100000),
    ('openai', 'o4-mini', 1.1, 4.4, '{"cache_read_input_token_cost": 0.000000275, '
        '"cache_read_input_token_cost_flex": 0.000000138, "cache_read_input_token_cost_priority": 0.0000005, '
        '"input_cost_per_token_batches": 0.00000055, "input_cost_per_token_flex": 0.00000055, '
        '"input_cost_per_token_priority": 0.000002, "output_cost_per_token_batches": 0.0000022, '
        '"output_cost_per_token_flex": 0.0000022, "output_cost_per_token_priority": 0.000008}', 100000),
    ('openai', 'gpt-5', 1.25, 10, '{"cache_read_input_token_cost": 0.000000125, '
        '"cache_read_input_token_cost_batches": 0.0000000625, "cache_read_input_token_cost_flex": 0.0000000625, '
        '"cache_read_input_token_cost_priority": 0.00000025, "input_cost_per_token_batches": 0.000000625, '
        '"input_cost_per_token_flex": 0.000000625, "input_cost_per_token_priority": 0.0000025, '
        '"output_cost_per_token_batches": 0.000005, "output_cost_per_token_flex": 0.000005, '
        '"output_cost_per_token_priority": 0.00002}', 128000),
    ('openai', 'gpt-5-mini', 0.25, 2, '{"cache_read_input_token_cost": 0.000000025, '
        '"cache_read_input_token_cost_batches": 0.0000000125, "cache_read_input_token_cost_flex": 0.0000000125, '
        '"cache_read_input_token_cost_priority": 0.000000045, "input_cost_per_token_batches": 0.000000125, '
        '"input_cost_per_token_flex": 0.000000125, "input_cost_per_token_priority": 0.00000045, '
        '"output_cost_per_token_batches": 0.000001, "output_cost_per_token_flex": 0.000001, '
        '"output_cost_per_token_priority": 0.0000036}', 128000),
    ('openai', 'gpt-5-nano', 0.05, 0.4, '{"cache_read_input_token_cost": 0.000000005, '
        '"cache_read_input_token_cost_batches": 0.0000000025, "cache_read_input_token_cost_flex": 0.0000000025, '
        '"input_cost_per_token_batches": 0.000000025, "input_cost_per_token_flex": 0.000000025, '
        '"output_cost_per_token_batches": 0.0000002, "output_cost_per_token_flex": 0.0000002}', 128000),
    ('openai', 'gpt-5.1', 1.25, 10, '{"cache_read_input_token_cost": 0.000000125, '
        '"cache_read_input_token_cost_batches": 0.0000000625, "cache_read_input_token_cost_flex": 0.0000000625, '
        '"cache_read_input_token_cost_priority": 0.00000025, "input_cost_per_token_priority": 0.0000025, '
        '"output_cost_per_token_priority": 0.00002, "input_cost_per_token_batches": 0.000000625, '
        '"input_cost_per_token_flex": 0.000000625, "output_cost_per_token_batches": 0.000005, '
        '"output_cost_per_token_flex": 0.000005}', 128000),
    ('openai', 'gpt-5.2', 1.75, 14, '{"cache_read_input_token_cost": 0.000000175, '
        '"cache_read_input_token_cost_batches": 0.0000000875, "cache_read_input_token_cost_flex": 0.0000000875, '
        '"cache_read_input_token_cost_priority": 0.00000035, "input_cost_per_token_priority": 0.0000035, '
        '"output_cost_per_token_priority": 0.000028, "input_cost_per_token_batches": 0.000000875, '
        '"input_cost_per_token_flex": 0.000000875, "output_cost_per_token_batches": 0.000007, '
        '"output_cost_per_token_flex": 0.000007}', 128000),
    ('openai', 'gpt-4-turbo', 10, 30, '{}', 4096),
    ('openai', 'gpt-3.5-turbo', 0.5, 1.5, '{}', 4096),
    ('openai', 'text-embedding-3-small', 0.02, 0, '{"input_cost_per_token_batches": 0.00000001, '
        '"output_cost_per_token_batches": 0}', null),
    ('openai', 'text-embedding-3-large', 0.13, 0, '{"input_cost_per_token_batches": 0.000000065, '
        '"output_cost_per_token_batches": 0}', null),
    ('anthropic', 'claude-opus-4-5', 5, 25, '{"cache_creation_input_token_cost": 0.00000625, '
        '"cache_creation_input_token_cost_above_1hr": 0.00001, '
        '"cache_creation_input_token_cost_batches": 0.000003125, "cache_read_input_token_cost": 0.0000005, '
        '"cache_read_input_token_cost_batches": 0.00000025, "input_cost_per_token_batches": 0.0000025, '
        '"output_cost_per_token_batches": 0.0000125}', 64000),
    ('anthropic', 'claude-sonnet-4-5', 3, 15, '{"cache_creation_input_token_cost": 0.00000375, '
        '"cache_creation_input_token_cost_above_1hr": 0.000006, "cache_read_input_token_cost": 0.0000003, '
        '"cache_creation_input_token_cost_batches": 0.000001875, "cache_read_input_token_cost_batches": 0.00000015, '
        '"input_cost_per_token_batches": 0.0000015, "output_cost_per_token_batches": 0.0000075}', 64000),
    ('anthropic', 'claude-haiku-4-5', 1, 5, '{"cache_creation_input_token_cost": 0.00000125, '
        '"cache_creation_input_token_cost_above_1hr": 0.000002, '
        '"cache_creation_input_token_cost_batches": 0.000000625, "cache_read_input_token_cost": 0.0000001, '
        '"cache_read_input_token_cost_batches": 0.00000005, "input_cost_per_token_batches": 0.0000005, '
        '"output_cost_per_token_batches": 0.0000025}', 64000),
    ('anthropic', 'claude-opus-4-6', 5, 25, '{"cache_creation_input_token_cost": 0.00000625, '
        '"cache_creation_input_token_cost_above_1hr": 0.00001, '
        '"cache_creation_input_token_cost_batches": 0.000003125, "cache_read_input_token_cost": 0.0000005, '
        '"cache_read_input_token_cost_batches": 0.00000025, "input_cost_per_token_batches": 0.0000025, '
        '"output_cost_per_token_batches": 0.0000125}', 128000),
    ('anthropic', 'claude-sonnet-4-6', 3, 15, '{"cache_creation_input_token_cost": 0.00000375, '
        '"cache_creation_input_token_cost_above_1hr": 0.000006, '
        '"cache_creation_input_token_cost_batches": 0.000001875, "cache_read_input_token_cost": 0.0000003, '
        '"cache_read_input_token_cost_batches": 0.00000015, "input_cost_per_token_batches": 0.0000015, '
        '"output_cost_per_token_batches": 0.0000075}', 128000),
    ('gemini', 'gemini-2.5-pro', 1.25, 10, '{"cache_read_input_token_cost": 0.000000125, '
        '"cache_read_input_token_cost_above_200k_tokens": 0.00000025, '
        '"cache_read_input_token_cost_above_200k_tokens_priority": 0.00000045, '
        '"cache_read_input_token_cost_batches": 0.000000125, "cache_read_input_token_cost_flex": 0.000000125, '
        '"cache_read_input_token_cost_priority": 0.000000225, "input_cost_per_token_above_200k_tokens": 0.0000025, '
        '"input_cost_per_token_priority": 0.00000225, "input_cost_per_token_above_200k_tokens_priority": 0.0000045, '
        '"output_cost_per_token_above_200k_tokens": 0.000015, "output_cost_per_token_priority": 0.000018, '
        '"output_cost_per_token_above_200k_tokens_priority": 0.000027, "input_cost_per_token_batches": 0.000000625, '
        '"input_cost_per_token_flex": 0.000000625, "output_cost_per_token_batches": 0.000005, '
        '"output_cost_per_token_flex": 0.000005, "cache_read_input_token_cost_above_200k_tokens_batches": 0.00000025, '
        '"input_cost_per_token_above_200k_tokens_batches": 0.00000125, '
        '"output_cost_per_token_above_200k_tokens_batches": 0.0000075}', 65536),
    ('gemini', 'gemini-2.5-flash', 0.3, 2.5, '{"cache_read_input_token_cost": 0.00000003, '
        '"cache_read_input_token_cost_batches": 0.00000003, "cache_read_input_token_cost_flex": 0.00000003, '
        '"cache_read_input_token_cost_priority": 0.000000054, "input_cost_per_audio_token": 0.000001, '
        '"input_cost_per_audio_token_flex": 0.0000005, "output_cost_per_reasoning_token": 0.0000025, '
        '"input_cost_per_audio_token_batches": 0.0000005, "input_cost_per_audio_token_priority": 0.0000018, '
        '"input_cost_per_token_batches": 0.00000015, "input_cost_per_token_flex": 0.00000015, '
        '"input_cost_per_token_priority": 0.00000054, "output_cost_per_token_batches": 0.00000125, '
        '"output_cost_per_token_flex": 0.00000125, "output_cost_per_token_priority": 0.0000045}', 65536),
    ('gemini', 'gemini-2.5-flash-lite', 0.1, 0.4, '{"cache_read_input_token_cost": 0.00000001, '
        '"cache_read_input_token_cost_batches": 0.00000001, "cache_read_input_token_cost_flex": 0.00000001, '
        '"cache_read_input_token_cost_priority": 0.000000018, "input_cost_per_audio_token": 0.0000003, '
        '"input_cost_per_audio_token_flex": 0.00000015, "output_cost_per_reasoning_token": 0.0000004, '
        '"input_cost_per_audio_token_batches": 0.00000015, "input_cost_per_audio_token_priority": 0.00000054, '
        '"input_cost_per_token_batches": 0.00000005, "input_cost_per_token_flex": 0.00000005, '
        '"input_cost_per_token_priority": 0.00000018, "output_cost_per_token_batches": 0.0000002, '
        '"output_cost_per_token_flex": 0.0000002, "output_cost_per_token_priority": 0.00000072}', 65536),
    ('mistral', 'mistral-large-latest', 0.5, 1.5, '{"cache_read_input_token_cost": 0.00000005}', 262144),
    ('mistral', 'mistral-small-latest', 0.15, 0.6, '{"cache_read_input_token_cost": 0.000000015}', 262144),
    ('deepseek', 'deepseek-chat', 0.28, 0.42, '{"cache_creation_input_token_cost": 0, '
        '"cache_read_input_token_cost": 0.000000028}', 8192),
    ('deepseek', 'deepseek-reasoner', 0.28, 0.42, '{"cache_read_input_token_cost": 0.000000028}', 65536);

create table copilot_internal.shipped_sandbox_prices (
    provider text not null,
    sandbox_type text not null,
    per_second_usd numeric not null,
    vcpu_second_usd numeric,
    memory_gib_second_usd numeric,
    primary key (provider, sandbox_type)
);
comment on table copilot_internal.shipped_sandbox_prices is
    'Prices of sandboxes that come with the extension: E2B''s published ones of an allocation, as of 2026. Beside them '
    'stands what a second costs whose allocation is not told.';
comment on column copilot_internal.shipped_sandbox_prices.provider is 'Whose sandbox it is.';
comment on column copilot_internal.shipped_sandbox_prices.sandbox_type is 'The sandbox type.';
comment on column copilot_internal.shipped_sandbox_prices.per_second_usd is
    'USD per second where the vCPU-seconds and GiB-seconds are not both told. For standard it is that of E2B''s usual '
    '2 vCPUs and 0.5 GiB, for the others what the seed application charged.';
comment on column copilot_internal.shipped_sandbox_prices.vcpu_second_usd is
    'USD per vCPU-second, where the allocation is told.';
comment on column copilot_internal.shipped_sandbox_prices.memory_gib_second_usd is
    'USD per GiB-second of memory, where the allocation is told.';
insert into copilot_internal.shipped_sandbox_prices
    (provider, sandbox_type, per_second_usd, vcpu_second_usd, memory_gib_second_usd) values
    ('e2b', 'standard', 0.00003025, 0.000014, 0.0000045),
    ('e2b', 'gpu', 0.001, null, null),
    ('e2b', 'high-memory', 0.0005, 0.000014, 0.0000045),
    ('e2b', 'high-cpu', 0.0003, 0.000014, 0.0000045);

create table copilot_internal.shipped_operation_profiles (
    operation_type text not null,
    confidence_level text not null,
    input_tokens bigint,
    output_tokens bigint,
    duration_seconds numeric,
    primary key (operation_type, confidence_level)
);
comment on table copilot_internal.shipped_operation_profiles is
    'The size of an operation that a named estimate assumes where the operator gave none. It is tokens of an LLM call, '
    'or seconds of a sandbox session.';
comment on column copilot_internal.shipped_operation_profiles.operation_type is 'The kind of operation.';
comment on column copilot_internal.shipped_operation_profiles.confidence_level is
    'conservative, typical or optimistic.';
comment on column copilot_internal.shipped_operation_profiles.input_tokens is 'Input tokens of one call.';
comment on column copilot_internal.shipped_operation_profiles.output_tokens is 'Output tokens of one call.';
comment on column copilot_internal.shipped_operation_profiles.duration_seconds is 'Seconds of one session.';
insert into copilot_internal.shipped_operation_profiles
    (operation_type, confidence_level, input_tokens, output_tokens, duration_seconds) values
    ('chat', 'conservative', 8000, 2000, null),
    ('chat', 'typical', 1000, 250, null),
    ('chat', 'optimistic', 300, 50, null),
    ('embedding', 'conservative', 8000, 0, null),
    ('embedding', 'typical', 500, 0, null),
    ('embedding', 'optimistic', 100, 0, null),
    ('standard_session', 'conservative', null, null, 3600),
    ('standard_session', 'typical', null, null, 600),
    ('standard_session', 'optimistic', null, null, 60);

create function copilot_internal.price_problem(
    p_input_per_million_usd numeric, p_output_per_million_usd numeric, p_components jsonb)
    returns text language c immutable parallel safe as 'MODULE_PATHNAME', 'price_problem_wrapper';
comment on function copilot_internal.price_problem(numeric, numeric, jsonb) is
    'Why the pricing engine cannot use these prices of a model, or NULL when it can. A key that it does not know is a '
    'problem: it would be a price that is never charged.';
