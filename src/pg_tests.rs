//! Tests inside a server, of what needs a backend's own interfaces. How SQL behaves is told by `pgrx-tests/regress`.

#[pgrx::pg_schema]
#[allow(clippy::panic, clippy::disallowed_methods, reason = "tests fail by panicking, and may query as they like")]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use pgrx::prelude::*;
    use pgrx::{AnyNumeric, FromDatum, JsonB};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use crate::pg::identity::{Caller, parse_uuid, print_uuid};
    use crate::pg::jsonb::Bounds;
    use crate::pg::jsonb_node::JsonbNode;
    use crate::pg::numeric;
    use crate::pg::spi::{Plan, Snapshot, session};
    use crate::pg::value::{GivenJson, Value, output};
    use crate::pg::zone::{PostgresZone, is_iana_name};
    use crate::pg::{clock_timestamp, from_unix_seconds, new_id, to_unix_seconds};
    use crate::pg::{jsonb_value, jsonb_writer};
    use tollgate_core::money::Picos;
    use tollgate_core::period::Zone;
    use tollgate_core::usage::Node;

    const TENANT: &str = "a0000000-0000-4000-8000-000000000001";
    const USER: &str = "b0000000-0000-4000-8000-000000000001";

    fn ask<T: FromDatum + IntoDatum>(sql: &str) -> T {
        match Spi::get_one(sql) {
            Ok(Some(value)) => value,
            other => panic!("{sql} gave {:?}", other.map(|_| "NULL")),
        }
    }

    fn run(sql: &str) {
        if let Err(error) = Spi::run(sql) {
            panic!("{sql}: {error}");
        }
    }

    /// Every five and a half days from 2000 to 2040, so that all hours of the day and both sides of each change are met.
    #[pg_test]
    fn a_zones_offset_is_that_of_at_time_zone() {
        const STEP: i64 = 475_200;
        let moments: Vec<i64> = (0..2_650).map(|index| 946_684_800 + index * STEP).collect();
        for name in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "America/St_Johns",
            "Asia/Kathmandu",
            "Asia/Gaza",
            "Africa/Casablanca",
            "Antarctica/Casey",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Pacific/Kiritimati",
        ] {
            let expected: Vec<i32> = ask(&format!(
                "select array_agg(extract(epoch from (to_timestamp(s) at time zone '{name}')
                                               - (to_timestamp(s) at time zone 'UTC'))::integer order by s)
                 from generate_series(946684800, 946684800 + 2649 * {STEP}::bigint, {STEP}) as s"
            ));
            let Ok(zone) = PostgresZone::named(name) else { panic!("{name} is unknown") };
            let found: Vec<i32> = moments.iter().map(|&at| zone.offset_at(at)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    /// Where no clock is changed within two hours of either end, a period is what date_trunc says.
    #[pg_test]
    fn a_period_is_that_of_date_trunc_in_every_zone() {
        run("create temp table bounds as
            select z.name, p.period, m.at, b.period_start, b.period_end, s.start as local_start, s.next as local_next,
                   s.start at time zone z.name as expected_start, s.next at time zone z.name as expected_end
            from (
                -- at time zone takes these as abbreviations, of a fixed offset, before it looks for a zone.
                select n.name from pg_catalog.pg_timezone_names n
                where not exists (select from pg_catalog.pg_timezone_abbrevs a where a.abbrev = upper(n.name))
            ) z
            cross join unnest(array['hour', 'day', 'week', 'month', 'year']) as p (period)
            cross join unnest(array['2001-09-09 01:46:40Z', '2007-12-31 23:59:59.999999Z', '2012-02-29 12:00Z',
                '2020-07-15 06:30Z', '2024-12-30 10:00Z', '2026-01-01 00:00Z', '2037-05-04 17:45Z']::timestamptz[]) as m (at)
            cross join lateral (
                select date_trunc(p.period, m.at at time zone z.name) as start,
                       date_trunc(p.period, m.at at time zone z.name) + ('1 ' || p.period)::interval as next
            ) s
            cross join lateral copilot_internal.period_bounds(p.period, z.name, m.at) b");
        run("delete from bounds
            where (expected_start - interval '2 hours') at time zone name <> local_start - interval '2 hours'
               or (expected_start + interval '2 hours') at time zone name <> local_start + interval '2 hours'
               or (expected_end - interval '2 hours') at time zone name <> local_next - interval '2 hours'
               or (expected_end + interval '2 hours') at time zone name <> local_next + interval '2 hours'");
        let wrong: Option<String> = match Spi::get_one(
            "select string_agg(format('%s %s %s: %s to %s', name, period, at, period_start, period_end), E'\\n')
             from bounds where (period_start, period_end) is distinct from (expected_start, expected_end)",
        ) {
            Ok(wrong) => wrong,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(wrong, None);
        assert!(ask::<i64>("select count(*) from bounds") > 15_000);
    }

    #[pg_test]
    fn the_names_of_zones_are_those_that_postgres_lists() {
        let listed: Vec<String> =
            ask("select array_agg(name) from pg_catalog.pg_timezone_names where abs(hashtext(name)) % 24 = 0");
        assert!(listed.len() > 10);
        for name in listed.iter().map(String::as_str).chain(["UTC", "Europe/Berlin"]) {
            assert!(is_iana_name(name), "{name}");
        }
        // pg_tzset takes all of these, and some of them it reads as rules of its own.
        for name in ["", "europe/berlin", "Europe/Berlin ", "UTC+3", "<+03>-3", "CET-1CEST", "Europe", "../UTC", "Mars"]
        {
            assert!(!is_iana_name(name), "{name}");
        }
    }

    /// The short cut and the long way read the same amount, or the short cut leaves it to the long way.
    #[pg_test]
    fn a_numeric_is_read_as_it_is_printed() {
        let taken = [
            "0",
            "1",
            "0.5",
            "9999",
            "10000",
            "10001.0001",
            "100000000",
            "0.0001",
            "0.000000000001",
            "0.10",
            "999999999.999999999999",
            "1000000000",
            "123456789.000000000001",
            "20000.00000001",
            "0.00000001",
        ];
        for text in taken {
            // SAFETY: the datum is a numeric made just now.
            let read = unsafe { numeric::picos(Value::numeric(text).datum()) };
            let expected = match Picos::parse(text) {
                Ok(amount) => amount,
                Err(error) => panic!("{text} {error}"),
            };
            let read = read.and_then(|picos| Picos::new(picos).ok());
            assert_eq!(read, Some(expected), "{text}");
        }
        for text in ["-1", "-0.0000001", "NaN", "Infinity", "-Infinity", "0.0000000000001", "1e40", "1e-20", "1e20000"]
        {
            // SAFETY: as above.
            assert_eq!(unsafe { numeric::picos(Value::numeric(text).datum()) }, None, "{text}");
        }
    }

    /// What this library builds is, to the byte, what Postgres reads.
    #[pg_test]
    fn a_cost_is_built_as_postgres_reads_it() {
        let mut texts = vec!["0".to_owned(), "1000000000".to_owned(), "999999999.999999999999".to_owned()];
        for place in 0..22 {
            for digits in [1_i128, 5, 12, 123, 1_234, 12_345, 100_001, 9_999_999] {
                if let Ok(amount) = Picos::new(digits * 10_i128.pow(place)) {
                    texts.push(amount.to_string());
                }
            }
        }
        for text in texts {
            let Ok(amount) = Picos::parse(&text) else { panic!("{text}") };
            let bytes = |datum: pgrx::pg_sys::Datum| {
                let stored = datum.cast_mut_ptr::<pgrx::pg_sys::varlena>();
                // SAFETY: a numeric made just now, which is neither compressed nor out of line.
                unsafe { std::slice::from_raw_parts(stored.cast::<u8>(), pgrx::varsize_any(stored)).to_vec() }
            };
            let built = Value::cost(amount).datum();
            assert_eq!(bytes(built), bytes(Value::numeric(&text).datum()), "{text}");
        }
    }

    #[pg_test]
    fn new_ids_are_ordered_by_millisecond() {
        let milliseconds = |at: i64| to_unix_seconds(at) * 1_000 + at.rem_euclid(1_000_000) / 1_000;
        let first = milliseconds(clock_timestamp());
        let ids: Vec<[u8; 16]> = (0..2_000).map(|_| *new_id().as_bytes()).collect();
        let last = milliseconds(clock_timestamp());
        let mut latest = first;
        for id in &ids {
            assert_eq!(id[6] >> 4, 8, "version");
            assert_eq!(id[0] >> 4, ids[0][0] >> 4, "one sequence a backend");
            assert_eq!(id[8] >> 6, 0b10, "variant");
            let at = id[..6].iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte)) & 0x0fff_ffff_ffff;
            assert!(at >= latest && at <= last, "{at} is not between {latest} and {last}");
            latest = at;
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[pg_test]
    fn moments_are_counted_as_postgres_counts_them() {
        for (unix, text) in [(0, "1970-01-01Z"), (946_684_800, "2000-01-01Z"), (1_709_251_199, "2024-02-29 23:59:59Z")]
        {
            let Some(found) = (unsafe {
                // SAFETY: a timestamptz is what Value::timestamp makes.
                TimestampWithTimeZone::from_datum(Value::timestamp(from_unix_seconds(unix)).datum(), false)
            }) else {
                panic!("{text} is NULL")
            };
            assert_eq!(found, ask::<TimestampWithTimeZone>(&format!("select '{text}'::timestamptz")));
        }
        assert_eq!(to_unix_seconds(from_unix_seconds(-1)), -1);
        // Half a second before the epoch is within the second that begins one before it.
        assert_eq!(to_unix_seconds(-500_000), 946_684_799);
    }

    #[pg_test]
    fn decimals_and_documents_pass_through_unchanged() {
        for text in ["0", "0.000000000001", "1000000000", "-0.5", "123456789.123456789012"] {
            // SAFETY: a numeric is what Value::numeric makes.
            let found = unsafe { AnyNumeric::from_datum(Value::numeric(text).datum(), false) };
            assert_eq!(found.map(|number| number.to_string()).as_deref(), Some(text));
        }
        let text = r#"{"a": [1, 2.50, "\u00e4\"", null], "b": {"c": 1e-12}}"#;
        let Ok(expected) = serde_json::from_str::<serde_json::Value>(text) else { panic!("{text}") };
        // SAFETY: a jsonb is what Value::jsonb makes.
        let found = unsafe { JsonB::from_datum(Value::jsonb(text).datum(), false) };
        let Some(JsonB(found)) = found else { panic!("NULL") };
        assert_eq!(found["a"][2], expected["a"][2]);
        assert_eq!(found["a"][3], serde_json::Value::Null);
        assert_eq!(found["b"]["c"].as_f64(), Some(1e-12));
        assert!(Value::from(None::<i64>).is_null());
        assert!(Value::numeric("a\0b").is_null());
    }

    /// Any document that Postgres stores, with numbers of up to 40 digits and some of more than a thousand.
    fn any_document() -> impl Strategy<Value = serde_json::Value> {
        let number = |text: String| serde_json::from_str(&text).unwrap_or_default();
        let leaf = prop_oneof![
            6 => Just(serde_json::Value::Null),
            6 => any::<bool>().prop_map(serde_json::Value::from),
            6 => "[^\\x00]{0,20}".prop_map(serde_json::Value::from),
            9 => "-?(0|[1-9][0-9]{0,40})([.][0-9]{1,40})?(e-?[0-9]{1,2})?".prop_map(number),
            1 => "[1-9][0-9]{1000,1100}".prop_map(number),
            1 => "0[.][0-9]{1000,1100}1".prop_map(number),
        ];
        let tree = leaf.clone().prop_recursive(6, 24, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                vec(("[^\\x00]{0,8}", inner), 0..6)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        });
        // Every thirty-second entry says where its value ends, the others how long it is.
        let wide = vec(("[^\\x00]{1,8}", leaf), 30..90);
        prop_oneof![
            4 => tree,
            1 => wide.clone().prop_map(|pairs| pairs.into_iter().map(|(_, value)| value).collect()),
            1 => wide.prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    }

    /// How deep a document is, and the bytes of its longest number.
    fn measured(document: &serde_json::Value) -> (usize, usize) {
        let of_all = |found: Vec<(usize, usize)>| {
            let deepest = found.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
            (deepest + 1, found.iter().map(|(_, longest)| *longest).max().unwrap_or(0))
        };
        match document {
            serde_json::Value::Array(list) => of_all(list.iter().map(measured).collect()),
            serde_json::Value::Object(object) => of_all(object.values().map(measured).collect()),
            serde_json::Value::Number(number) => (0, number.as_str().len()),
            _ => (0, 0),
        }
    }

    #[pg_test]
    fn any_stored_document_is_within_its_bounds_exactly_when_its_text_is() {
        let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
        let bounds = (0..600_usize, 1..5_usize, prop_oneof![1..60_usize, Just(1_000)]);
        let outcome = runner.run(&(any_document(), bounds), |(document, (bytes, depth, number))| {
            let given = || GivenJson::new(Value::jsonb(&document.to_string()).datum());
            let Ok(all) = given().within(&Bounds { bytes: 1_000_000, depth: 100, number: 10_000 }) else {
                return Err(TestCaseError::fail("beyond every bound"));
            };
            let text = all.text();
            let printed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let (levels, longest) = measured(&printed);
            prop_assert_eq!(all.is_object(), (!printed.is_null()).then_some(printed.is_object()));
            // A scalar is stored as a list of one, and an empty object is within every bound.
            let fits = text == "{}" || (text.len() <= bytes && levels.max(1) <= depth && longest <= number);
            let within = given().within(&Bounds { bytes, depth, number });
            prop_assert_eq!(within.is_ok(), fits, "{} {} {}: {:?}", bytes, depth, number, within.err());
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
    }

    /// Numbers without the zeros that say nothing, which a reader of counts may leave out.
    fn trimmed(document: serde_json::Value) -> serde_json::Value {
        match document {
            serde_json::Value::Array(list) => list.into_iter().map(trimmed).collect(),
            serde_json::Value::Object(object) => object.into_iter().map(|(key, value)| (key, trimmed(value))).collect(),
            serde_json::Value::Number(number) if number.as_str().contains('.') => {
                let text = number.as_str().trim_end_matches('0').trim_end_matches('.');
                serde_json::from_str(text).unwrap_or_default()
            }
            other => other,
        }
    }

    #[pg_test]
    fn any_stored_document_is_read_as_it_prints() {
        let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
        let bounds = Bounds { bytes: 1_000_000, depth: 100, number: 10_000 };
        let outcome = runner.run(&any_document(), |document| {
            let stored = || Value::jsonb(&document.to_string());
            let printed = serde_json::from_str(&output(pg_sys::jsonb_out, stored().datum())).unwrap_or_default();
            let Ok(read) = jsonb_value::read(&GivenJson::new(stored().datum()), &bounds) else {
                return Err(TestCaseError::fail("beyond every bound"));
            };
            prop_assert_eq!(trimmed(read), trimmed(printed));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
    }

    /// What a report holds beside its usage is passed over. It has to be as bounded as if it had been read.
    #[pg_test]
    fn any_stored_document_is_passed_over_within_the_bounds_in_which_it_is_read() {
        let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
        let bounds = (1..6_usize, prop_oneof![1..60_usize, Just(1_000)]);
        let outcome = runner.run(&(any_document(), bounds), |(document, (depth, number))| {
            let stored = Value::jsonb(&document.to_string()).datum();
            let bounds = Bounds { bytes: 1_000_000, depth, number };
            // SAFETY: a jsonb that was made just now.
            let passed = unsafe { JsonbNode::of(stored, &bounds) }.is_within_bounds();
            prop_assert_eq!(passed, jsonb_value::read(&GivenJson::new(stored), &bounds).is_ok());
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
    }

    fn bytes_of(document: Value) -> Vec<u8> {
        // SAFETY: a jsonb that was made just now is a varlena of as many bytes as it says.
        unsafe {
            let document = document.datum().cast_mut_ptr::<pg_sys::varlena>();
            std::slice::from_raw_parts(document.cast::<u8>(), pgrx::varsize_any(document)).to_vec()
        }
    }

    /// Byte by byte. Every 32nd entry of a container is another kind of entry.
    #[pg_test]
    fn any_document_is_written_as_postgres_writes_it() {
        let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
        let document = (any_document(), 0..100_usize, 0..100_usize);
        let outcome = runner.run(&document, |(document, members, elements)| {
            let mut object = serde_json::json!({
                "document": document, "": null, "elements": vec![&document; elements],
                "numbers": [i64::MAX, i64::MIN, u64::MAX, 0, -1], "truth": [true, false],
            });
            for member in 0..members {
                object[format!("key {}", member * 7)] = format!("value {member}").into();
            }
            let Ok(written) = jsonb_writer::write(&object) else { return Err(TestCaseError::fail("not written")) };
            prop_assert_eq!(bytes_of(written.value()), bytes_of(Value::jsonb(&object.to_string())));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(["text".into(), 1.into(), serde_json::Value::Null].iter().all(|it| jsonb_writer::write(it).is_err()));
    }

    /// The names by which kernels read their arguments are those of the SQL signatures, in their order.
    #[pg_test]
    fn arguments_are_named_as_in_sql() {
        // pgrx reads the arguments of these.
        const READ_BY_PGRX: [&str; 6] = [
            "begin_script",
            "is_time_zone",
            "reload_tenant_counters",
            "try_corrections_lock",
            "try_fold_lock",
            "try_path_lock",
        ];
        // Those of the second extension, which is not installed here.
        for file in [
            include_str!("../sql/conversations/access.sql"),
            include_str!("../sql/conversations/history.sql"),
            include_str!("../sql/conversations/messages.sql"),
        ] {
            for statement in file.split(";\n").filter(|statement| statement.contains("MODULE_PATHNAME")) {
                run(&statement.replace("MODULE_PATHNAME", "$libdir/pg_tollgate"));
            }
        }
        let named: BTreeMap<String, String> = crate::api::signatures()
            .flat_map(|signature| signature.functions.iter().map(|name| (name, signature.arguments.join(" "))))
            .map(|(name, arguments)| (name.to_string(), arguments))
            .collect();
        let in_sql: BTreeMap<String, String> = ask::<Vec<String>>(
            "select array_agg(pg_catalog.replace(p.prosrc, '_wrapper', '') || '=' || a.names)
             from pg_catalog.pg_proc p
             join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname = 'c'
             cross join lateral (
                 select pg_catalog.string_agg(n.name, ' ' order by n.position) as names
                 from pg_catalog.unnest(p.proargnames) with ordinality as n (name, position)
                 where n.position <= p.pronargs
             ) a
             where p.pronargs > 0 and p.pronamespace in ('public'::regnamespace, 'copilot_internal'::regnamespace)",
        )
        .into_iter()
        .filter_map(|text| text.split_once('=').map(|(name, arguments)| (name.to_owned(), arguments.to_owned())))
        .filter(|(name, _)| !READ_BY_PGRX.contains(&name.as_str()))
        .collect();
        assert_eq!(named, in_sql);
        assert!(named.len() > 30, "{} functions", named.len());
    }

    /// A build with debug assertions compares the names of columns as they are read. Every query with many of them runs.
    #[pg_test]
    fn columns_are_named_as_in_their_queries() {
        run(&format!(
            "insert into copilot_internal.tenants (id, name, owner_id) values ('{TENANT}', 'Acme', '{USER}');
             insert into copilot_internal.price_markups (factor, effective_from) values (1.5, '2020-01-01')"
        ));
        let quota = format!("select count(*)::text from public.set_quota('tenant', '{TENANT}', 'all', 1)");
        let llm = format!(
            "select replayed::text from public.record_llm_cost('{TENANT}', 'openai', 'gpt-4o', 9000, 900, p_request_id => 'a')"
        );
        let sandbox = format!(
            "select replayed::text from public.record_e2b_cost('{TENANT}', 'box', 'standard', 60, p_request_id => 'b')"
        );
        let charge = format!(
            "select replayed::text from public.check_and_record_quota_atomic('tenant', '{TENANT}', 0.9, p_request_id => 'c')"
        );
        let hold = format!("select replayed::text from public.reserve_quota('{TENANT}', 'llm', 0.01, 'd')");
        let commit =
            "select c.status from copilot_internal.quota_reservations r, public.commit_reservation(r.id, 0.002) c";
        let refund = "select c.replayed::text from copilot_internal.llm_cost_records r,
            public.refund_cost(r.id, 0.001, 'e') c";
        let reprice =
            "select count(*)::text from copilot_internal.reprice(now() - interval '1 hour', now() + interval '1 hour')";
        let markup = "with u as (update copilot_internal.price_markups set factor = 1.6 returning 1) select count(*)::text from u";
        let tenants = format!("select tenant_name || ' ' || role from public.get_user_tenants('{USER}')");
        let events = format!("select (copilot_internal.catch_up_events('{TENANT}', 100) >= 0)::text");
        for (sql, expected) in [
            (quota.as_str(), "1"),
            (&llm, "false"),
            (&llm, "true"),
            (&sandbox, "false"),
            (&sandbox, "true"),
            (&charge, "false"),
            (&charge, "true"),
            (&hold, "false"),
            (&hold, "true"),
            (commit, "committed"),
            (refund, "false"),
            (markup, "1"),
            (reprice, "2"),
            (&tenants, "Acme owner"),
            (&events, "true"),
        ] {
            assert_eq!(ask::<String>(sql), expected, "{sql}");
        }
    }

    /// A charge decides on what it and the statements before it in its transaction have written.
    #[pg_test]
    fn a_latest_snapshot_sees_what_its_own_transaction_wrote() {
        static COUNT: Plan = Plan::new("select count(*) from copilot_internal.tenants", &[]);
        static INSERT: Plan = Plan::new("insert into copilot_internal.tenants (name) values ($1)", &[pg_sys::TEXTOID]);
        let counts = session(|spi| {
            let count = |snapshot| -> crate::error::Result<i64> {
                spi.run(&COUNT, snapshot, &[])?.first().map_or(Ok(-1), |row| row.need(1))
            };
            let before = count(Snapshot::Latest)?;
            spi.run_write(&INSERT, &["Acme".into()])?;
            Ok((before, count(Snapshot::Statement)?, count(Snapshot::Latest)?))
        });
        // The snapshot of the calling statement is older than the row.
        assert_eq!(counts, Ok((0, 0, 1)));
    }

    #[pg_test]
    fn a_query_of_the_wrong_shape_is_an_error_and_no_crash() {
        static COUNT: Plan =
            Plan::new("select count(*), null::text from copilot_internal.tenants where name = $1", &[pg_sys::TEXTOID]);
        assert!(session(|spi| spi.run(&COUNT, Snapshot::Statement, &[]).map(|_| ())).is_err());
        let row = session(|spi| {
            let rows = spi.run(&COUNT, Snapshot::Statement, &["no such tenant".into()])?;
            let row = rows.first().ok_or_else(|| crate::error::Error::internal("no row"))?;
            Ok((
                rows.len(),
                row.need::<i64>(1)?,
                row.get::<String>(2),
                row.need::<String>(2).is_err(),
                row.get::<i64>(9),
            ))
        });
        assert_eq!(row, Ok((1, 0, None, true, None)));
    }

    #[pg_test]
    fn admission_holds_locks_that_sql_cannot_name() {
        const HELD: &str = "select coalesce(string_agg(mode, ' ' order by mode), '') from pg_catalog.pg_locks
            where locktype = 'advisory' and objsubid = 21575 and pid = pg_catalog.pg_backend_pid()";
        assert_eq!(ask::<String>(HELD), "");
        run(&format!("select * from public.check_and_record_quota_atomic('tenant', '{TENANT}', 1)"));
        // The platform shared, the tenant exclusively.
        assert_eq!(ask::<String>(HELD), "ExclusiveLock ShareLock");
        // Whatever is done to SQL's advisory locks of the same numbers, or to all of them, leaves ours alone.
        run("select pg_catalog.pg_advisory_xact_lock(classid::bigint::bit(32)::integer, objid::bigint::bit(32)::integer)
            from pg_catalog.pg_locks where objsubid = 21575 and pid = pg_catalog.pg_backend_pid()");
        run("select pg_catalog.pg_advisory_unlock_all()");
        assert_eq!(ask::<String>(HELD), "ExclusiveLock ShareLock");
        assert_eq!(
            ask::<i64>(
                "select count(*) from pg_catalog.pg_locks
                 where locktype = 'advisory' and objsubid = 2 and pid = pg_catalog.pg_backend_pid()"
            ),
            2
        );
    }

    #[pg_test]
    fn a_subject_is_read_from_the_claims_of_an_authenticated_role_alone() {
        run(&format!(
            "select set_config('request.jwt.claims', '{{\"sub\": \"{USER}\", \"app_metadata\": {{\"tenant_id\": \"{TENANT}\"}}}}', true)"
        ));
        let (user, tenant) = (parse_uuid(USER), parse_uuid(TENANT));
        assert!(user.is_some() && tenant.is_some());
        let told = |role: &str| {
            run(&format!("set local role {role}"));
            let caller = Caller::current();
            let told = (
                caller.serves_all_tenants(),
                caller.reads_all_metrics(),
                caller.subject() == user,
                caller.claimed_tenant() == tenant,
            );
            run("reset role");
            told
        };
        assert_eq!(told("anon"), (false, false, false, false));
        assert_eq!(told("authenticated"), (false, false, true, true));
        assert_eq!(told("metrics_reader"), (false, true, false, false));
        assert_eq!(told("service_role"), (true, true, false, false));
        // Claims longer than any issuer writes are not read.
        run(&format!(
            "select set_config('request.jwt.claims', format('{{\"sub\": \"{USER}\", \"x\": \"%s\"}}', repeat('x', 70000)), true)"
        ));
        assert_eq!(told("authenticated"), (false, false, false, false));
    }

    #[pg_test]
    fn only_the_hyphenated_form_names_a_user() {
        assert_eq!(parse_uuid(USER).map(print_uuid).as_deref(), Some(USER));
        assert_eq!(parse_uuid(&USER.to_uppercase()), parse_uuid(USER));
        for text in [
            "",
            "b0000000000040008000000000000001",
            "{b0000000-0000-4000-8000-000000000001}",
            "b0000000-0000-4000-8000-00000000000g",
            "b0000000-0000-4000-8000-0000000000011",
            "b000000-00000-4000-8000-000000000001",
            "b0000000-0000-4000-8000-00000000000é",
        ] {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }
}
