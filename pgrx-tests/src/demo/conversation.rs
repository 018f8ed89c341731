//! After the trace: one conversation that branches, is compacted and runs a sandbox, and what each of its paths cost.

use anyhow::{Context, Result, ensure};
use postgres::Client;
use uuid::Uuid;

use super::DATABASE;
use super::world::{DemoWorld, Tenant};
use crate::cluster::Cluster;
use crate::table::Table;

const PLANS: [(&str, &str); 5] = [
    ("Where could we go in May?", "Lisbon is mild then, and the trams are fun. Galway is greener, and wetter."),
    ("How long is the flight to Lisbon?", "Three hours from Dublin. The morning flight leaves you the afternoon."),
    ("And where would we stay?", "Alfama is old and steep; Príncipe Real has gardens. Both are near the river."),
    ("What does a week cost?", "About 900 EUR for two, with a room in Alfama and the tram for seven days."),
    ("Is there a beach?", "Cascais, forty minutes by train along the coast. Swim in the bay, not at Guincho."),
];

const DETOUR: (&str, &str) = (
    "Could you compute it for four people?",
    "For four it is 1,640 EUR: the rooms double, the flat rate for trams does not.",
);

const LAST: (&str, &str) = ("Let us go.", "Then book the morning flight first, and the room in Alfama after it.");

const SUMMARY: &str = "They plan a week in Lisbon in May, about 900 EUR for two, staying in Alfama.";

/// What came of it.
pub struct Conversation {
    pub paths: Table,
    /// Whether everything adds up.
    pub is_good: bool,
}

/// The application's server, in one conversation.
struct Scene<'a> {
    server: Client,
    tenant: &'a Tenant,
    id: Uuid,
}

pub fn play(cluster: &Cluster, admin: &mut Client, world: &DemoWorld) -> Result<Conversation> {
    admin.batch_execute("create extension pg_tollgate_conversations").context("pg_tollgate_conversations")?;
    let mut server = cluster.connect(DATABASE, "authenticator")?;
    server.batch_execute("set role service_role").context("cannot become service_role")?;
    let tenant = &world.tenants[0];
    let made = server.query_one(
        "select conversation_id, path_id from public.create_conversation($1, $2, 'A week away')",
        &[&tenant.id, &tenant.members[0]],
    );
    let made = made.context("create_conversation")?;
    let (mut scene, main) = (Scene { server, tenant, id: made.get(0) }, made.get(1));
    println!("One conversation of {} (pg_tollgate_conversations)", tenant.name);
    for exchange in PLANS {
        scene.exchange(main, exchange)?;
    }
    let branch = scene.branch(main)?;
    scene.exchange(branch, DETOUR)?;
    scene.sandbox(branch)?;
    scene.compact(main)?;
    scene.exchange(main, LAST)?;
    let paths = scene.paths()?;
    println!("What each path cost (metrics.cost_by_path)\n{}", paths.render());
    let is_good = verified(admin)?;
    Ok(Conversation { paths, is_good })
}

impl Scene<'_> {
    /// A question and its answer. The model is sent the context of the path, and costs by its size.
    fn exchange(&mut self, path: Uuid, (question, answer): (&str, &str)) -> Result<()> {
        let (tenant, user) = (self.tenant.id, self.tenant.members[0]);
        let append = "select public.append_message($1, $2, $3, $4, p_user_id => $5, p_path_id => $6)";
        self.server.execute(append, &[&tenant, &self.id, &"user", &question, &Some(user), &path])?;
        let (_, tokens) = self.shown(path)?;
        self.server.execute(append, &[&tenant, &self.id, &"assistant", &answer, &None::<Uuid>, &path])?;
        self.cost(path, "chat", tokens, answer)?;
        Ok(())
    }

    /// How many lines and tokens a model is shown of a path.
    fn shown(&mut self, path: Uuid) -> Result<(i64, i64)> {
        let sql = "select count(*), sum(coalesce(token_count, octet_length(content) / 4))::bigint
                   from public.get_path_context($1, $2)";
        let row = self.server.query_one(sql, &[&self.tenant.id, &path]).context("get_path_context")?;
        Ok((row.get(0), row.get(1)))
    }

    /// Records a model's call on a path.
    fn cost(&mut self, path: Uuid, task: &str, input: i64, output: &str) -> Result<Uuid> {
        let sql = "select cost_record_id from public.record_llm_cost($1, 'openai', 'gpt-4o', $2, $3,
                       p_user_id => $4, p_conversation_id => $5, p_path_id => $6, p_task => $7)";
        let output = output.len() as i64 / 4;
        let user = self.tenant.members[0];
        let row = self.server.query_one(sql, &[&self.tenant.id, &input, &output, &user, &self.id, &path, &task]);
        Ok(row.context("record_llm_cost")?.get(0))
    }

    /// From the answer about the price.
    fn branch(&mut self, main: Uuid) -> Result<Uuid> {
        let sql = "select b.path_id, b.inherited_count
                   from copilot_internal.conversation_messages m,
                        public.branch_from_message($1, $2, m.id, 'for four') b
                   where m.path_id = $3 and m.sequence_in_path = 8";
        let row = self.server.query_one(sql, &[&self.tenant.id, &self.id, &main]).context("branch_from_message")?;
        println!("  a branch, for four people, shares the first {} messages", row.get::<_, i32>(1));
        Ok(row.get(0))
    }

    /// Money is held before there is a sandbox, and it is billed once.
    fn sandbox(&mut self, path: Uuid) -> Result<()> {
        let acquire = "select outcome, context_id from public.acquire_execution_context($1, $2, $3)";
        let row = self.server.query_one(acquire, &[&self.tenant.id, &self.id, &path]).context("acquire")?;
        let (outcome, context): (String, Uuid) = (row.get(0), row.get(1));
        ensure!(outcome == "create", "a sandbox: {outcome}");
        self.server.execute("select public.activate_execution_context($1, 'a-sandbox-of-the-demo')", &[&context])?;
        let again: String = self.server.query_one(acquire, &[&self.tenant.id, &self.id, &path])?.get(0);
        let release = "select trim_scale(cost_usd)::text from public.release_execution_context($1, 90)";
        let usd: String = self.server.query_one(release, &[&context]).context("release_execution_context")?.get(0);
        println!("  its sandbox: {outcome}, then {again}; 90 seconds cost {usd} USD");
        Ok(())
    }

    fn compact(&mut self, main: Uuid) -> Result<()> {
        let before = self.shown(main)?;
        let call = self.cost(main, "compaction", before.1, SUMMARY)?;
        let sql = "select a.state
                   from (select c.message_id, c.removal_count from public.get_path_context($1, $3) c
                         where c.effective_sequence = 8) r,
                        public.apply_compaction($1, $2, $3, r.message_id, 'semantic', $4, p_cost_record_id => $5,
                                                p_removal_count => r.removal_count) a";
        let row = self.server.query_one(sql, &[&self.tenant.id, &self.id, &main, &SUMMARY, &call]);
        let state: String = row.context("apply_compaction")?.get(0);
        ensure!(state == "applied", "the compaction: {state}");
        let after = self.shown(main)?;
        println!(
            "  compacted: a model is shown {} messages of {} tokens, and not {} of {}",
            after.0, after.1, before.0, before.1
        );
        Ok(())
    }

    fn paths(&mut self) -> Result<Table> {
        let header = ["path", "messages", "tokens shown", "model USD", "sandbox USD", "path USD"];
        let mut paths = Table::new(&header).with_bars(5, None);
        let rows = self.server.query(
            "select p.name, (p.inherited_count + p.last_sequence)::text, p.open_token_count::text,
                    trim_scale(c.llm_cost)::text, trim_scale(c.e2b_cost)::text, trim_scale(c.total_cost)::text
             from copilot_internal.conversation_paths p
             join metrics.cost_by_path c on c.path_id = p.id and c.tenant_id = p.tenant_id
             where p.conversation_id = $1 order by p.depth",
            &[&self.id],
        );
        for row in rows.context("metrics.cost_by_path")? {
            paths.row((0..6).map(|column| row.get(column)).collect());
        }
        Ok(paths)
    }
}

fn verified(admin: &mut Client) -> Result<bool> {
    let sql = "select (select count(*) from public.verify_conversations()) + (select count(*) from copilot_internal.verify())";
    let differences: i64 = admin.query_one(sql, &[]).context("verify_conversations()")?.get(0);
    match differences {
        0 => println!("verify_conversations() and verify(): no rows, exact\n"),
        _ => println!("verify_conversations() and verify(): {differences} rows, WRONG\n"),
    }
    Ok(differences == 0)
}
