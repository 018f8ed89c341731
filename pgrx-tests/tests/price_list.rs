//! The whole price list that people use: in, out, and what must not come in.

use tollgate_tests::support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use postgres::Client;
use postgres::error::SqlState;
use support::{Database, text, texts};
use tollgate_tests::price_list;

const MODELS: i64 = 4_551;
const PRICES: i64 = 16_850;

/// As the application's server, with the list in a table of its own.
fn server(database: &Database) -> Result<Client> {
    let mut client = database.superuser()?;
    client.batch_execute(
        "create table public.list as select null::jsonb as list where false; grant all on public.list to service_role",
    )?;
    client.batch_execute("set role service_role")?;
    client.execute("insert into public.list select copilot_internal.price_list($1)", &[&price_list::text()?])?;
    Ok(client)
}

/// Inserted, changed, unchanged, missing, skipped, prices.
fn import(client: &mut Client, list: &str, from: &str) -> Result<[i64; 6]> {
    let sql = format!(
        "select i.inserted, i.changed, i.unchanged, i.missing, i.skipped, i.price_values from public.list,
         copilot_internal.import_model_pricing({list}, 'test', $1::text::timestamptz) i"
    );
    let row = client.query_one(&sql, &[&from])?;
    Ok([0, 1, 2, 3, 4, 5].map(|column| row.get(column)))
}

/// Every stored row in every column, and the transaction that wrote it.
fn rows(client: &mut Client) -> Result<String> {
    let sql = "select md5(string_agg(p.xmin::text || to_jsonb(p)::text, ',' order by p.id))
               from copilot_internal.model_pricing p";
    text(client, sql, &[])
}

#[test]
fn every_value_comes_out_as_it_went_in_and_the_same_list_again_changes_nothing() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    assert_eq!(import(&mut client, "list", "2026-01-01Z")?, [MODELS, 0, 0, 0, 2, PRICES]);
    let same: bool = client
        .query_one(
            "select copilot_internal.export_model_pricing() = list - 'sample_spec' - 'fallback_generalizations' from public.list",
            &[],
        )?
        .get(0);
    assert!(same, "what came out is not what went in");
    // Each scalar price by itself, so that it is known what has been compared.
    let sql = "
        with given as (
            select m.key as model, p.key, p.value from public.list, jsonb_each(list) m, jsonb_each(m.value) p
            where m.key not in ('sample_spec', 'fallback_generalizations') and p.key like '%cost%'
              and jsonb_typeof(p.value) = 'number'
        ), stored as (
            select p.list_key as model, v.key, v.value from copilot_internal.model_pricing p,
                   copilot_internal.price_values(p.input_per_million_usd, p.output_per_million_usd, p.components) v
        )
        select count(*), count(*) filter (where (g.value #>> '{}')::numeric = s.value), count(distinct g.key)
        from given g left join stored s using (model, key)";
    let row = client.query_one(sql, &[])?;
    assert_eq!([row.get::<_, i64>(0), row.get(1), row.get(2)], [PRICES, PRICES, 157]);
    // Nor does the engine meet a price that it cannot read.
    let sql = "select p.list_key from copilot_internal.model_pricing p
               where copilot_internal.price_problem(p.input_per_million_usd, p.output_per_million_usd, p.components) is not null";
    assert_eq!(texts(&mut client, sql, &[])?, Vec::<String>::new());

    let before = rows(&mut client)?;
    assert_eq!(import(&mut client, "list", "2026-02-01Z")?, [0, 0, MODELS, 0, 2, PRICES]);
    assert_eq!(rows(&mut client)?, before, "an import of the same list wrote something");
    Ok(())
}

#[test]
fn a_months_list_leaves_history_and_jumps_are_refused() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    // gpt-4o halves, its mini sibling is gone.
    let next = "jsonb_set(list, '{gpt-4o,input_cost_per_token}', '0.00000125') - 'gpt-4o-mini'";
    assert_eq!(import(&mut client, next, "2026-02-01Z")?, [0, 1, MODELS - 2, 1, 2, PRICES - 8]);
    let price = |client: &mut Client, model: &str, at: &str| {
        text(
            client,
            "select format('%s %s', trim_scale(p.input_per_million_usd), p.missing_since is not null)
             from copilot_internal.model_pricing p where p.list_key = $1 and p.effective_from <= $2::text::timestamptz
             and (p.effective_to is null or p.effective_to > $2::text::timestamptz)",
            &[&model, &at],
        )
    };
    assert_eq!(price(&mut client, "gpt-4o", "2026-01-31Z")?, "2.5 f");
    assert_eq!(price(&mut client, "gpt-4o", "2026-02-01Z")?, "1.25 f");
    assert_eq!(price(&mut client, "gpt-4o-mini", "2026-03-01Z")?, "0.15 t");
    let known = "select (copilot_internal.export_model_pricing('2026-01-15Z') = list - 'sample_spec' - 'fallback_generalizations')::text from public.list";
    assert_eq!(text(&mut client, known, &[])?, "true");

    // A list in which everything is dearer a thousand times, and one that is nearly empty.
    let before = rows(&mut client)?;
    let dearer = "(select jsonb_object_agg(m.key, case when jsonb_typeof(m.value -> 'input_cost_per_token') = 'number'
        then jsonb_set(m.value, '{input_cost_per_token}', to_jsonb((m.value ->> 'input_cost_per_token')::numeric * 1000))
        else m.value end) from jsonb_each(list) m
        where coalesce((m.value ->> 'input_cost_per_token')::numeric, 0) < 1)";
    let few = "jsonb_build_object('gpt-4o', list -> 'gpt-4o')";
    for list in [dearer, few] {
        let error = import(&mut client, list, "2026-03-01Z").unwrap_err();
        let error =
            error.downcast_ref::<postgres::Error>().and_then(|error| error.as_db_error()).context("an error")?;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("p_force")), "{error}");
        assert_eq!(rows(&mut client)?, before);
    }
    Ok(())
}

#[test]
fn what_is_no_list_is_one_error_and_changes_nothing() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    let before = rows(&mut client)?;
    let model = |rest: &str| format!("'{{\"m\": {{\"litellm_provider\": \"p\", {rest}}}}}'");
    let cases = [
        model("\"input_cost_per_token\": 1e400"),
        model("\"input_cost_per_token\": 1e131000"),
        model("\"note\": 1e-16000"),
        model("\"input_cost_per_token\": -1e-9"),
        model("\"input_cost_per_token\": \"0.1\""),
        model("\"input_cost_per_token\": true"),
        model("\"input_cost_per_token\": 1e-25"),
        model("\"input_cost_per_token\": 1, \"input_cost_per_token\": 2"),
        model("\"tiered_pricing\": 7"),
        model("\"tiered_pricing\": [{\"range\": [0], \"input_cost_per_token\": 1}]"),
        model("\"off_peak_pricing\": {\"hours_utc\": 5}"),
        model("\"search_context_cost_per_query\": {\"search_context_size_low\": -1}"),
        model("\"regional_endpoint_uplift_multiplier\": 1e9"),
        "'[]'".to_owned(),
        "'{}'".to_owned(),
        "'null'".to_owned(),
        "'{\"m\": 1}'".to_owned(),
        "'{\"m\": {\"litellm_provider\": 1}}'".to_owned(),
        "'{\"m\": {\"litellm_provider\"'".to_owned(),
        "''".to_owned(),
        "null".to_owned(),
        "repeat('[', 10000) || repeat(']', 10000)".to_owned(),
        "repeat('{\"m\":', 10000) || '1' || repeat('}', 10000)".to_owned(),
        "'{\"m\": {\"litellm_provider\": \"p\", \"note\": \"' || repeat('x', 100000000) || '\"}}'".to_owned(),
        format!("'{{\"{}\": {{\"litellm_provider\": \"p\"}}}}'", "m".repeat(201)),
    ];
    for case in cases {
        let shown: String = case.chars().take(120).collect();
        let sql = format!(
            "select * from copilot_internal.import_model_pricing(copilot_internal.price_list({case}), 'hostile', '2026-02-01Z', p_force => true)"
        );
        let error = client.query(&sql, &[]).expect_err(&shown);
        let error = error.as_db_error().context("an error of the server")?;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{shown}: {error}");
        assert!(error.message().len() < 200 && !error.message().contains('\n'), "{shown}: {error}");
    }
    // What jsonb has let through is met again.
    for case in [
        "repeat('[', 3000) || repeat(']', 3000)",
        "'{\"m\": {\"litellm_provider\": \"p\", \"note\": \"' || repeat('x', 100000000) || '\"}}'",
    ] {
        let sql =
            format!("select * from copilot_internal.import_model_pricing(({case})::jsonb, 'hostile', p_force => true)");
        let error = client.query(&sql, &[]).expect_err(case);
        assert_eq!(error.code(), Some(&SqlState::INVALID_PARAMETER_VALUE), "{case}: {error}");
    }
    for arguments in [
        "list, null",
        "list, ''",
        "list, 'x', null",
        "list, 'x', 'infinity'",
        "list, 'x', now(), null",
        "list, 'x', '2025-01-01Z'",
    ] {
        let list = "jsonb_set(list, '{gpt-4o,input_cost_per_token}', '0.000002')";
        let sql = format!(
            "select i.* from public.list, copilot_internal.import_model_pricing({}) i",
            arguments.replacen("list", list, 1)
        );
        let error = client.query(&sql, &[]).expect_err(arguments);
        assert_eq!(error.code(), Some(&SqlState::INVALID_PARAMETER_VALUE), "{arguments}: {error}");
    }
    assert_eq!(rows(&mut client)?, before);
    Ok(())
}

#[test]
fn sessions_price_by_an_import_from_its_commit_on() -> Result<()> {
    let database = Database::fresh()?;
    let mut importer = server(&database)?;
    let mut other = database.superuser()?;
    let estimate = |client: &mut Client| {
        text(
            client,
            "select estimated_cost_usd::text || ' ' || basis from public.estimate_llm_cost('openai', 'gpt-4o', 1000000, 0)",
            &[],
        )
    };
    assert_eq!(estimate(&mut other)?, "2.5 shipped price");
    let mut transaction = importer.transaction()?;
    transaction.execute(
        "select i.* from public.list, copilot_internal.import_model_pricing(
             jsonb_set(list, '{gpt-4o,input_cost_per_token}', '0.000003'), 'test', '2026-01-01Z') i",
        &[],
    )?;
    assert_eq!(estimate(&mut other)?, "2.5 shipped price");
    transaction.commit()?;
    assert_eq!(estimate(&mut other)?, "3 imported price");
    assert_eq!(estimate(&mut importer)?, "3 imported price");
    let mut transaction = importer.transaction()?;
    transaction.execute(
        "update copilot_internal.model_pricing set input_per_million_usd = 4 where list_key = 'gpt-4o'",
        &[],
    )?;
    let own: String = transaction
        .query_one(
            "select estimated_cost_usd::text from public.estimate_llm_cost('openai', 'gpt-4o', 1000000, 0)",
            &[],
        )?
        .get(0);
    assert_eq!(own, "4");
    transaction.rollback()?;
    assert_eq!(estimate(&mut importer)?, "3 imported price");
    Ok(())
}

/// A month's real list over the one before: what came, changed, stayed and went is the whole of both.
#[test]
fn every_entry_of_a_newer_list_is_accounted_for() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    client.execute("insert into public.list select copilot_internal.price_list($1)", &[&price_list::newer_text()?])?;
    client.batch_execute(
        "create temporary view newer as select list from public.list where list ? 'claude-opus-latest'",
    )?;
    let sql = "
        select i.inserted, i.changed, i.unchanged, i.missing, i.skipped, i.aliases, i.details_changed, i.further_names,
               i.skipped_because::text, (select count(*) from newer, jsonb_object_keys(list))
        from newer, copilot_internal.import_model_pricing(list, 'litellm 1.110.2', '2026-02-01Z') i";
    let row = client.query_one(sql, &[])?;
    let [inserted, changed, unchanged, missing, skipped, aliases, described, further]: [i64; 8] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|column| row.get(column));
    let because: String = row.get(8);
    let entries: i64 = row.get(9);
    println!(
        "counted: {entries} entries of the newer list: inserted {inserted} ({aliases} aliases), changed {changed}, unchanged \
         {unchanged} ({described} in other details), skipped {skipped}: {because}; missing {missing} of the older one"
    );
    assert_eq!(inserted + changed + unchanged + skipped, entries);
    // Each is priced, or says nothing of a price and comes out as it went in, or is skipped for a reason.
    let reasons: BTreeMap<String, i64> = serde_json::from_str(&because)?;
    assert_eq!(reasons.values().sum::<i64>(), skipped);
    let sql = "
        with present as (
            select p.entry is not null or coalesce(p.input_per_million_usd, p.output_per_million_usd) is not null
                       or exists (select from jsonb_object_keys(p.components) k where k ~ 'cost|pricing') as has_price,
                   exists (select from jsonb_object_keys(l.value) k where k ~ 'cost|pricing|alias') as says
            from newer n, jsonb_each(n.list) l
            join copilot_internal.model_pricing p on p.list_key = l.key and p.effective_to is null
        )
        select count(*) filter (where has_price), count(*) filter (where not has_price),
               count(*) filter (where says and not has_price) from present";
    let row = client.query_one(sql, &[])?;
    let [priced, exported, lost]: [i64; 3] = [0, 1, 2].map(|column| row.get(column));
    println!(
        "counted: {priced} of them priced, {exported} that say nothing of a price, {skipped} skipped, {lost} lost"
    );
    assert_eq!(priced + exported + skipped, entries);
    assert_eq!(lost, 0);
    assert_eq!(unchanged + changed + missing, MODELS);
    assert_eq!([inserted, changed, unchanged, missing, skipped, aliases, further], [377, 275, 4_224, 52, 2, 98, 0]);
    assert_eq!(because, r#"{"it is an example": 1, "it has no litellm_provider": 1}"#);
    let sql = "select copilot_internal.export_model_pricing('2026-01-15Z') = l.list - 'sample_spec' - 'fallback_generalizations',
                      copilot_internal.export_model_pricing() = n.list - 'sample_spec' - 'fallback_generalizations'
               from public.list l, newer n where not l.list ? 'claude-opus-latest'";
    let row = client.query_one(sql, &[])?;
    assert_eq!([row.get::<_, bool>(0), row.get(1)], [true, true], "a list came out as it did not go in");
    // An alias costs what its target costs.
    let sql = "select count(*)::text from copilot_internal.model_pricing p, lateral public.estimate_llm_cost(
                   p.model_provider, p.model_name, 1000, 100) a
               join lateral (select t.* from copilot_internal.model_pricing t
                   where t.list_key = p.entry ->> 'alias_of' and t.effective_to is null) t on true,
               lateral public.estimate_llm_cost(t.model_provider, t.model_name, 1000, 100) b
               where p.entry is not null and a.estimated_cost_usd = b.estimated_cost_usd";
    assert_eq!(text(&mut client, sql, &[])?, "98");
    for (provider, model) in
        [("anthropic", "claude-opus-latest"), ("aws.bedrock", "kimi-latest"), ("unknown", "gpt-sol-latest")]
    {
        let sql = "select pricing_found::text from public.estimate_llm_cost($1, $2, 1, 1)";
        assert_eq!(text(&mut client, sql, &[&provider, &model])?, "true", "{provider} {model}");
    }
    let before = rows(&mut client)?;
    let sql = "select i.inserted + i.changed + i.details_changed from newer, copilot_internal.import_model_pricing(list, 'again', '2026-03-01Z') i";
    assert_eq!(client.query_one(sql, &[])?.get::<_, i64>(0), 0);
    assert_eq!(rows(&mut client)?, before, "an import of the same list wrote something");
    Ok(())
}

/// Well-known models, each worked out on paper from the list.
#[test]
fn well_known_models_cost_what_their_prices_say() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    let cases = [
        // 6000 × 0.00000125 + 4000 × 0.000000125 + 2000 × 0.00001; reasoning costs as any output.
        (
            "openai",
            "gpt-5",
            10_000,
            2_000,
            r#"{"cache_read_input_tokens": 4000, "reasoning_output_tokens": 1500}"#,
            None,
            "0.028",
        ),
        // The same in a batch, each at its own price: half of it.
        (
            "openai",
            "gpt-5",
            10_000,
            2_000,
            r#"{"cache_read_input_tokens": 4000, "reasoning_output_tokens": 1500}"#,
            Some("batch"),
            "0.014",
        ),
        // 1000 × 0.000003 + 5000 × 0.0000003 + 3000 × 0.00000375 + 1000 × 0.000006 + 500 × 0.000015.
        (
            "anthropic",
            "claude-sonnet-4-5",
            10_000,
            500,
            r#"{"cache_read_input_tokens": 5000, "cache_creation_input_tokens": 4000, "cache_creation_1h_input_tokens": 1000}"#,
            None,
            "0.02925",
        ),
        // Above 200,000: 200000 × 0.0000025 + 50000 × 0.00000025 + 1000 × 0.000015.
        ("gemini", "gemini-2.5-pro", 250_000, 1_000, r#"{"cache_read_input_tokens": 50000}"#, None, "0.5275"),
        // At 200,000, which is not above: 200000 × 0.00000125 + 1000 × 0.00001.
        ("gemini", "gemini-2.5-pro", 200_000, 1_000, "{}", None, "0.26"),
        // 600 × 0.0000003 + 400 × 0.000001 + 250 × 0.0000025 + 750 × 0.0000025.
        (
            "gemini",
            "gemini-2.5-flash",
            1_000,
            1_000,
            r#"{"input_audio_tokens": 400, "reasoning_output_tokens": 750}"#,
            None,
            "0.00308",
        ),
        // 1000 × 0.000002 + 300 × 0.000008 + 700 × 0.000003 + 400 × 0.000002 + 10 × 0.005.
        (
            "perplexity",
            "sonar-deep-research",
            1_000,
            1_000,
            r#"{"reasoning_output_tokens": 700, "citation_tokens": 400, "web_search_requests": 10}"#,
            None,
            "0.0573",
        ),
        // (1000 × 0.000005 + 100 × 0.000025) × 1.1 in the US.
        ("anthropic", "claude-opus-4-6", 1_000, 100, r#"{"inference_geo": "us"}"#, None, "0.00825"),
        // 300000 × 0.00001 + 1000 × 0.000045, × 1.1 in Europe.
        ("openai", "gpt-5.5", 300_000, 1_000, r#"{"data_residency": "eu"}"#, None, "3.3495"),
        // The second band: 40000 × 0.0000024 + 1000 × 0.000012.
        ("dashscope", "qwen3-max", 40_000, 1_000, "{}", None, "0.108"),
        // 12.5 seconds × 0.0001.
        ("openai", "whisper-1", 0, 0, r#"{"input_seconds": 12.5}"#, None, "0.00125"),
    ];
    for (provider, model, input, output, usage, tier, expected) in cases {
        let sql = "select coalesce(estimated_cost_usd::text, basis)
                   from public.estimate_llm_cost($1, $2, $3::int, $4::int, $5::text::jsonb, $6)";
        let cost = text(&mut client, sql, &[&provider, &model, &input, &output, &usage, &tier])?;
        assert_eq!(cost, expected, "{provider} {model} {usage} {tier:?}");
    }
    // Without a count of the answer it is as long as it gets: 1000 × 0.00000125 + 128000 × 0.00001.
    let sql = "select estimated_cost_usd::text from public.estimate_llm_cost('openai', 'gpt-5', 1000, null)";
    assert_eq!(text(&mut client, sql, &[])?, "1.28125");
    Ok(())
}

/// What the newer list says besides.
#[test]
fn premiums_and_searches_cost_as_the_newer_list_says() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    // (1000 × 0.000005 + 100 × 0.00003) × 1.1 under FedRAMP; and three searches of one prompt are one.
    client.execute(
        "select i.* from copilot_internal.import_model_pricing(copilot_internal.price_list($1), 'newer', '2026-01-01Z', p_force => true) i",
        &[&price_list::newer_text()?],
    )?;
    for (provider, model, usage, expected) in [
        ("openai", "gpt-5.5", r#"{"data_residency": "fedramp"}"#, "0.0088"),
        ("gemini", "gemini-2.5-flash", r#"{"web_search_requests": 3}"#, "0.03555"),
        ("gemini", "gemini-2.5-flash", r#"{"web_search_requests": 3, "requests": 2}"#, "0.07055"),
        ("gemini", "gemini-3.1-flash-lite", r#"{"web_search_requests": 3}"#, "0.0424"),
    ] {
        let sql = "select coalesce(estimated_cost_usd::text, basis) from public.estimate_llm_cost($1, $2, 1000, 100, $3::text::jsonb)";
        assert_eq!(text(&mut client, sql, &[&provider, &model, &usage])?, expected, "{provider} {model} {usage}");
    }
    Ok(())
}

/// Nothing that is used within a bound costs more, for every model of the list.
#[test]
fn no_model_costs_more_than_its_estimate() -> Result<()> {
    let mut client = server(&Database::fresh()?)?;
    import(&mut client, "list", "2026-01-01Z")?;
    let sql = "
        select count(*), count(*) filter (where c.estimated_cost_usd > e.estimated_cost_usd),
               count(*) filter (where c.estimated_cost_usd < e.estimated_cost_usd)
        from copilot_internal.model_pricing p,
             (values (1000, 100), (272001, 100)) as t (input, output),
             (values ('{}'), ('{\"cache_read_input_tokens\": 900}'), ('{\"cache_creation_1h_input_tokens\": 900}'),
                     ('{\"input_audio_tokens\": 800, \"output_audio_tokens\": 100}'), ('{\"reasoning_output_tokens\": 90}'),
                     ('{\"inference_geo\": \"us\", \"speed\": \"fast\"}'), ('{\"data_residency\": \"eu\", \"output_image_tokens\": 60}'),
                     ('{\"location\": \"us-east5\", \"input_image_tokens\": 1000}')) as u (usage),
             (values (null), ('priority'), ('batch')) as s (tier),
             public.estimate_llm_cost(p.model_provider, p.model_name, t.input, t.output, u.usage::jsonb, s.tier) c,
             public.estimate_llm_cost(p.model_provider, p.model_name, t.input, t.output, null, s.tier) e
        where p.imported and c.estimated_cost_usd is not null";
    let row = client.query_one(sql, &[])?;
    let [compared, above, below]: [i64; 3] = [0, 1, 2].map(|column| row.get(column));
    assert!(compared > 100_000 && below > 10_000, "{compared} {below}");
    assert_eq!(above, 0);
    Ok(())
}
