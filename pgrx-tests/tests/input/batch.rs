//! Batches: refused whole, with the ordinal of the record that is wrong.

use std::io::Write;

use anyhow::Result;
use tollgate_tests::session::{Caller, message};

use crate::calls::{prepared, refused};
use crate::support::assert_verified;

#[test]
fn a_bad_batch_is_refused_whole_and_says_where() -> Result<()> {
    let good = r#"{"tenant_id":"00000000-0000-0000-0000-000000000001","model_provider":"p","model_name":"m","input_tokens":1,"output_tokens":1,"cost_usd":1}"#;
    let with = |more: &str| format!("{},{more}}}", good.trim_end_matches('}'));
    let batch = |json: &str| format!("select * from public.record_llm_costs('{json}')");
    let second = |record: &str| batch(&format!("[{good},{record},{good}]"));
    let shapes = ["{}", "1", "null", "\"x\"", "true", good].map(|json| (batch(json), "22023"));
    let too_many = format!(
        "select * from public.record_llm_costs((select jsonb_agg('{good}'::jsonb) from generate_series(1, 10001)))"
    );
    refused(
        &[
            shapes.as_slice(),
            &[(too_many, "22023"), ("select * from public.record_llm_costs(null)".to_string(), "22023")],
        ]
        .concat(),
    )?;

    let bad = [
        "1".to_string(),
        "null".to_string(),
        "[]".to_string(),
        "{}".to_string(),
        with("\"modelname\":\"x\""),
        with("\"p_tenant_id\":null"),
        with("\"input_tokens\":\"1\""),
        with("\"input_tokens\":1.5"),
        with("\"input_tokens\":-1"),
        with("\"input_tokens\":1e300"),
        with("\"model_name\":7"),
        with("\"user_id\":\"me\""),
        with("\"enforce\":\"true\""),
        with("\"enforce\":1"),
        with("\"cost_usd\":\"NaN\""),
        with("\"cost_usd\":-1"),
        with("\"cost_usd\":{}"),
        with("\"usage\":[]"),
        with("\"usage\":{\"cache_read_input_tokens\":2}"),
        with("\"metadata\":\"x\""),
        with("\"occurred_at\":\"yesterday\""),
        with("\"occurred_at\":\"9999-01-01T00:00:00Z\""),
        with("\"occurred_at\":0"),
        with("\"request_id\":\"\""),
    ];
    let cases: Vec<(String, &str)> = bad.iter().map(|record| (second(record), "22023")).collect();
    refused(&cases)?;
    refused(&[(second(&with("\"reservation_id\":\"00000000-0000-0000-0000-000000000009\"")), "P0002")])?;
    let (_database, mut session) = prepared()?;
    for (sql, expected) in cases {
        let error = session.expect_sqlstate(&Caller::service(), &sql, &[], expected);
        assert!(message(&error).starts_with("record 2: "), "{}", message(&error));
    }
    Ok(())
}

#[test]
fn a_bad_batch_of_sandboxes_too() -> Result<()> {
    let good =
        r#"{"tenant_id":"00000000-0000-0000-0000-000000000001","sandbox_type":"b","duration_seconds":1,"cost_usd":1}"#;
    let (_database, mut session) = prepared()?;
    for (more, expected) in [
        ("\"duration_seconds\":-1", "22023"),
        ("\"duration_seconds\":\"NaN\"", "22023"),
        ("\"duration_seconds\":1e300", "22023"),
        ("\"gpu_seconds\":{}", "22023"),
        ("\"creations\":\"one\"", "22023"),
        ("\"input_tokens\":1", "22023"),
        ("\"metadata\":\"x\"", "22023"),
        ("\"reservation_id\":\"00000000-0000-0000-0000-000000000009\"", "P0002"),
    ] {
        let bad = format!("{},{more}}}", good.trim_end_matches('}'));
        let sql = format!("select * from public.record_e2b_costs('[{good},{bad},{good}]')");
        let error = session.expect_sqlstate(&Caller::service(), &sql, &[], expected);
        assert!(message(&error).starts_with("record 2: "), "{}", message(&error));
    }
    Ok(())
}

/// The way that docs/how-to/record.md shows.
#[test]
fn a_file_goes_in_by_batches_from_a_staging_table() -> Result<()> {
    const LINES: i64 = 20_001;
    let (database, _) = prepared()?;
    let mut client = database.superuser()?;
    client.batch_execute(
        "create temporary table staged (line bigint generated always as identity primary key, record jsonb not null)",
    )?;
    let copy = r"copy pg_temp.staged (record) from stdin with (format csv, quote e'\x01', delimiter e'\x02')";
    let mut file = client.copy_in(copy)?;
    for line in 0..LINES {
        writeln!(
            file,
            r#"{{"tenant_id": "00000000-0000-0000-0000-000000000001", "model_provider": "p", "model_name": "m", "cost_usd": 0.001, "input_tokens": 1, "output_tokens": 1, "request_id": "{line}", "task": "a \"quoted\", \\ task"}}"#
        )?;
    }
    file.finish()?;
    let next = "with batch as (
            delete from pg_temp.staged where line in (select line from pg_temp.staged order by line limit 10000)
            returning line, record
        )
        select count(*) from public.record_llm_costs((select coalesce(jsonb_agg(record order by line), '[]') from batch))";
    for expected in [10_000, 10_000, 1, 0] {
        assert_eq!(client.query_one(next, &[])?.get::<_, i64>(0), expected);
    }
    let sql = r#"select count(distinct request_id), count(*) filter (where task = 'a "quoted", \ task')
                 from copilot_internal.llm_cost_records"#;
    let row = client.query_one(sql, &[])?;
    assert_eq!((row.get(0), row.get(1)), (LINES, LINES));
    assert_verified(&mut client);
    Ok(())
}
