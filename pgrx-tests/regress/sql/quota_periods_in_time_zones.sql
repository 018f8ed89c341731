-- Quota periods are calendar periods of a time zone, half-open, ISO weeks; a local day has 23, 24 or 25 hours.
\set VERBOSITY sqlstate
set timezone = 'UTC';
set datestyle = 'ISO';
-- Berlin goes to summer time on 2026-03-29 and back on 2026-10-25; New York on 2026-03-08 and 2026-11-01.
select d.zone, d.day, b.period_start, b.period_end, b.period_end - b.period_start as lasts
from (values ('Europe/Berlin', '2026-03-28'), ('Europe/Berlin', '2026-03-29'), ('Europe/Berlin', '2026-10-25'), ('Europe/Berlin', '2026-10-26'),
             ('America/New_York', '2026-03-08'), ('America/New_York', '2026-11-01'), ('UTC', '2026-03-29')) as d (zone, day),
     lateral copilot_internal.period_bounds('day', d.zone, d.day::timestamp at time zone d.zone) b;
-- Midnights that do not exist, and a day far from UTC. diegosouzapw/OmniRoute#13671, astaxie/TokenHub#335.
select m.zone, m.at, b.* from (values
    ('America/Santiago', '2026-09-06 12:00Z'::timestamptz), ('America/Santiago', '2026-09-06 03:59:59Z'), ('Asia/Beirut', '2026-10-24 21:30Z'),
    ('Asia/Shanghai', '2026-09-08 23:47Z')) as m (zone, at), lateral copilot_internal.period_bounds('day', m.zone, m.at) b;
-- The hour that Berlin's clocks show twice is two hours: from 00:00 and from 01:00 UTC.
select at, b.* from (values ('2026-10-25 00:30Z'::timestamptz), ('2026-10-25 01:30Z')) as m (at),
     lateral copilot_internal.period_bounds('hour', 'Europe/Berlin', m.at) b;
-- All kinds, at a moment that is 2026-12-31 in UTC and 2027-01-01 on Kiritimati (14 hours ahead). ISO week 53 of 2026
-- is Monday, 2026-12-28 to Sunday, 2027-01-03.
select p.name, z.name, b.*
from unnest(array['hour', 'day', 'week', 'month', 'year', 'lifetime']) with ordinality as p (name, place),
     unnest(array['UTC', 'Pacific/Kiritimati']) as z (name),
     lateral copilot_internal.period_bounds(p.name, z.name, '2026-12-31 10:00Z') b
order by p.place, z.name desc;
-- Half-open: the last microsecond is inside, the end is the next period's start.
select b.period_start from unnest(array['2026-01-31 22:59:59.999999Z', '2026-01-31 23:00Z']::timestamptz[]) as m (at),
     lateral copilot_internal.period_bounds('month', 'Europe/Berlin', m.at) b;
-- A month with a change of the clocks: October 2026 has 31 days and one hour more in Berlin, and half an hour less on
-- Lord Howe, which goes to summer time by 30 minutes.
select z.name, b.period_end - b.period_start as lasts from unnest(array['Europe/Berlin', 'Australia/Lord_Howe']) as z (name),
     lateral copilot_internal.period_bounds('month', z.name, '2026-10-15Z') b;
-- A day that never was: Samoa skipped 2011-12-30, so the 29th ends where the 31st begins.
select b.* from copilot_internal.period_bounds('day', 'Pacific/Apia', '2011-12-30 09:59:59Z') b;
select b.* from copilot_internal.period_bounds('day', 'Pacific/Apia', '2011-12-30 10:00Z') b;

-- A charge counts in the period that its moment falls into, by the quota's zone. Kiritimati's February of 2024 begins at
-- 10:00 UTC on January 31st.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 10, 'month', p_time_zone => 'Pacific/Kiritimati') is not null as made;
select m.at, r.remaining_usd
from unnest(array['2024-01-31 09:59:59.999999Z', '2024-01-31 10:00Z', '2024-02-29 09:59:59.999999Z', '2024-02-29 10:00Z']::timestamptz[]) as m (at),
     lateral record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => m.at) r
order by m.at;
-- The same after folding: buckets never straddle the end of a period.
select task from copilot_internal.maintain() where task = 'fold';
select m.at, r.remaining_usd
from unnest(array['2024-01-31 09:59:59.999999Z', '2024-01-31 10:00Z', '2024-02-29 09:59:59.999999Z', '2024-02-29 10:00Z']::timestamptz[]) as m (at),
     lateral record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => m.at) r
order by m.at;
-- None of it is this month's.
select current_spend_usd from check_quota_before_operation(:'tenant', 'llm', 1);

select * from copilot_internal.period_bounds('fortnight', 'UTC', now());
select * from copilot_internal.period_bounds(null, 'UTC', now());
select * from copilot_internal.period_bounds('day', 'Mars/Olympus_Mons', now());
select * from copilot_internal.period_bounds('day', null, now());
select * from copilot_internal.period_bounds('day', 'UTC', null);
select * from copilot_internal.period_bounds('day', 'UTC', 'infinity');
