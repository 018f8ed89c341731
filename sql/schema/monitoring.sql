-- What admission shows of itself.

create function copilot_internal.verify_counters()
    returns table (check_name text, tenant_id uuid, expected numeric, actual numeric)
    language c volatile as 'MODULE_PATHNAME', 'verify_counters_wrapper';
comment on function copilot_internal.verify_counters() is
    'Returns the counters in shared memory that do not say what the tables say (verify() compares the tables with each '
    'other); no rows means exact. Counters that open transactions have pinned are passed over.';

create function copilot_internal.holdings()
    returns table (process integer, tenant_id uuid, since timestamptz, nanos bigint)
    language c volatile as 'MODULE_PATHNAME', 'holdings_wrapper';
comment on function copilot_internal.holdings() is
    'What open transactions of this database have charged and not committed, in nano USD. For pending(); tells '
    'service_role alone.';

create function copilot_internal.pending()
    returns table (pid integer, tenant_id uuid, age interval, amount_usd numeric)
    language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
    select h.process, h.tenant_id, pg_catalog.clock_timestamp() - h.since,
           pg_catalog.trim_scale(h.nanos / 1000000000.0)
    from copilot_internal.holdings() h;
end;
comment on function copilot_internal.pending() is
    'Capacity held by open transactions: by process, for how long, how much (USD). What one charges beyond four '
    'tenants is a row without a tenant. No rows when the library is not preloaded: such a transaction holds its '
    'tenant''s lock instead.';

create function copilot_internal.admission_counters()
    returns table (mode text, entries bigint, entries_used bigint, entries_pinned bigint, entry_bytes bigint,
        shared_bytes bigint, admissions bigint, refusals bigint, retryable_refusals bigint, loads bigint,
        evictions bigint, waits bigint)
    language c volatile rows 1 as 'MODULE_PATHNAME', 'admission_counters_wrapper';
comment on function copilot_internal.admission_counters() is 'The counters of metrics.admission. Run as the owner.';
