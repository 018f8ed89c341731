//! Configuration that arrives by logical replication, from one database to another.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions, PORT, SUPERUSER};

use crate::support::{assert_verified, preloaded, text, texts};
use crate::world::{CHANGES, Open, Question, Tenant, filled};

/// The tables that a session keeps rows of.
const TABLES: [&str; 11] = [
    "cost_quotas",
    "default_quotas",
    "quota_overrides",
    "tenants",
    "tenant_memberships",
    "user_preferences",
    "tenant_llm_policies",
    "model_pricing",
    "e2b_pricing",
    "price_markups",
    "model_aliases",
];

/// A publisher and a subscriber.
struct Pair {
    cluster: Cluster,
    subscriber: String,
    from: Client,
    to: Client,
}

impl Pair {
    fn start() -> Result<Self> {
        let extra_conf = vec![("wal_level".to_string(), "logical".to_string())];
        let cluster = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?;
        let (publisher, subscriber) = (cluster.fresh_database()?, cluster.fresh_database()?);
        let (mut from, to) = (cluster.superuser(&publisher)?, cluster.superuser(&subscriber)?);
        let tables: Vec<String> = TABLES.iter().map(|table| format!("copilot_internal.{table}")).collect();
        from.batch_execute(&format!("create publication configuration for table {}", tables.join(", ")))?;
        // A server cannot make a slot on itself while it makes the subscription.
        from.batch_execute("select pg_create_logical_replication_slot('configuration', 'pgoutput')")?;
        let mut pair = Self { cluster, subscriber, from, to };
        pair.to.batch_execute(&format!(
            "create subscription configuration connection 'host={} port={PORT} dbname={publisher} user={SUPERUSER}'
             publication configuration with (create_slot = false, slot_name = 'configuration', synchronous_commit = on)",
            pair.cluster.dir().display()
        ))?;
        pair.until("the first copy is done", |pair| {
            let sql = "select bool_and(srsubstate = 'r') from pg_subscription_rel";
            Ok(pair.to.query_one(sql, &[])?.get(0))
        })?;
        Ok(pair)
    }

    fn until(&mut self, what: &str, mut happened: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !happened(self)? {
            ensure!(Instant::now() < deadline, "it does not happen that {what}");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Until the subscriber has acknowledged all that the publisher has committed.
    fn arrived(&mut self) -> Result<()> {
        let now = text(&mut self.from, "select pg_current_wal_lsn()::text", &[])?;
        self.until("the subscriber has acknowledged", |pair| {
            let sql = format!("select count(*) filter (where flush_lsn >= '{now}') = 1 from pg_stat_replication");
            Ok(pair.from.query_one(&sql, &[])?.get(0))
        })
    }

    fn switch(&mut self, how: &str) -> Result<()> {
        for table in TABLES {
            self.to.batch_execute(&format!("alter table copilot_internal.{table} {how} trigger all"))?;
        }
        Ok(())
    }

    /// Triggers that do not fire as they shipped.
    fn unarmed(&mut self) -> Result<Vec<String>> {
        texts(
            &mut self.to,
            "select format('%s on %s', t.tgname, t.tgrelid::regclass)
               from pg_trigger t join pg_proc p on p.oid = t.tgfoid
              where p.proname in ('configuration_changed', 'definitions_changed', 'lock_platform', 'rows_changed')
                and t.tgenabled <> case when t.tgname like 'replicated%' then 'R' else 'A' end",
            &[],
        )
    }

    /// An open session of the subscriber follows each change as soon as it has arrived.
    fn follow(&mut self, first: u128, when: &str) -> Result<()> {
        let mut open = Open::connect(&self.cluster, &self.subscriber)?;
        for (number, change) in (first..).zip(CHANGES) {
            let tenant = Tenant::numbered(number);
            tenant.create(&mut self.from)?;
            self.arrived()?;
            for _ in 0..2 {
                open.expect(change, tenant, change.before, when)?;
                change.make(&mut self.from, tenant)?;
                self.arrived()?;
                open.expect(change, tenant, change.after, when)?;
                change.undo(&mut self.from, tenant)?;
                self.arrived()?;
                open.expect(change, tenant, change.before, when)?;
            }
        }
        Ok(())
    }
}

#[test]
fn what_arrives_is_followed_by_open_sessions() -> Result<()> {
    let mut pair = Pair::start()?;
    assert_eq!(pair.unarmed()?, Vec::<String>::new());
    pair.follow(1, "as it ships")?;
    // Before pg_dump's --disable-triggers, and between its two statements.
    pair.switch("disable")?;
    pair.follow(101, "while triggers are disabled")?;
    pair.switch("enable")?;
    ensure!(pair.unarmed()?.len() > 30, "enabling them has left them as they shipped");
    pair.follow(201, "after enable trigger all")?;
    pair.to.batch_execute("select copilot_internal.maintain()")?;
    assert_eq!(pair.unarmed()?, Vec::<String>::new());
    pair.follow(301, "after maintain()")?;
    // Of everything at once.
    let mut open = Open::connect(&pair.cluster, &pair.subscriber)?;
    for (number, change) in (301..).zip(CHANGES.iter().filter(|change| change.name != "a tenant's deletion")) {
        let tenant = Tenant::numbered(number);
        if change.asks == Question::Allowed {
            change.make(&mut pair.from, tenant)?;
            pair.arrived()?;
            open.expect(change, tenant, change.after, "before TRUNCATE")?;
            pair.from.batch_execute("truncate copilot_internal.tenant_llm_policies")?;
            pair.arrived()?;
            open.expect(change, tenant, change.before, "after TRUNCATE")?;
        }
    }
    assert_verified(&mut pair.to);
    Ok(())
}

/// A quota that goes and comes back has counted nothing in between, so it comes back in another epoch.
#[test]
fn a_quota_that_arrives_counts_what_was_charged_without_it() -> Result<()> {
    let mut pair = Pair::start()?;
    let preloaded = preloaded(&mut pair.to)?;
    for (number, how) in [(1, ""), (2, "disable; enable")] {
        for way in how.split("; ").filter(|way| !way.is_empty()) {
            pair.switch(way)?;
        }
        let tenant = Tenant::numbered(number);
        tenant.create(&mut pair.from)?;
        pair.arrived()?;
        let mut server = pair.cluster.superuser(&pair.subscriber)?;
        server.batch_execute("set role service_role; set statement_timeout = '60s'")?;
        let charge = |server: &mut Client, usd: &str| -> Result<bool> {
            let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::text::numeric,
                           p_enforce => true)";
            Ok(server.query_one(sql, &[&tenant.id, &usd])?.get(0))
        };
        let loads = |server: &mut Client| -> Result<Option<i64>> {
            Ok(server.query_one("select loads from metrics.admission", &[])?.get(0))
        };
        ensure!(charge(&mut server, "4")?);
        let before = loads(&mut server)?;
        for round in 0..3 {
            let quota = "where tenant_id = '{id}' and period = 'lifetime'";
            pair.from.batch_execute(&filled(
                &format!(
                    "create temporary table kept as select * from copilot_internal.cost_quotas {quota};
                     delete from copilot_internal.cost_quotas {quota}"
                ),
                tenant,
            ))?;
            pair.arrived()?;
            ensure!(charge(&mut server, "1")?, "without it, round {round}");
            pair.from.batch_execute("insert into copilot_internal.cost_quotas select * from kept; drop table kept")?;
            pair.arrived()?;
            let left = 10 - 4 - (round + 1);
            ensure!(!charge(&mut server, &format!("{left}.000000001"))?, "more than is left, round {round} {how}");
        }
        ensure!(charge(&mut server, "3")?, "what is left");
        ensure!(!charge(&mut server, "0.000000001")?, "more than all");
        if preloaded {
            ensure!(loads(&mut server)? > before, "no counter was loaded anew");
        }
        assert_verified(&mut server);
    }
    Ok(())
}
