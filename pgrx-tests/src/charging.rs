//! Charges as clients make them, for the commands that make very many of them: `torture` and `history`.

use anyhow::{Context, Result};
use postgres::{Client, Error, Row, Statement};
use uuid::Uuid;

/// Picodollars in a nano-dollar: costs are exact to the former, quotas count the latter.
const PICOS_PER_NANO: i64 = 1_000;

/// Which function charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    Llm,
    E2b,
    /// `check_and_record_quota_atomic`, always for the resource `llm` here.
    Bare,
}

impl Function {
    pub const ALL: [Function; 3] = [Function::Llm, Function::E2b, Function::Bare];

    pub fn resource(self) -> &'static str {
        match self {
            Function::Llm | Function::Bare => "llm",
            Function::E2b => "e2b",
        }
    }

    /// The ledger that its rows are in.
    pub fn ledger(self) -> &'static str {
        match self {
            Function::Llm => "copilot_internal.llm_cost_records",
            Function::E2b => "copilot_internal.e2b_cost_records",
            Function::Bare => "copilot_internal.quota_charges",
        }
    }
}

/// One charge, with everything that makes it the same or another request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub function: Function,
    pub tenant: Uuid,
    pub user: Option<Uuid>,
    /// Its cost in 1e-12 USD.
    pub picos: i64,
    pub enforce: bool,
    pub request: Option<String>,
}

impl Charge {
    /// What quotas count: rounded up.
    pub fn nanos(&self) -> i64 {
        self.picos.div_euclid(PICOS_PER_NANO) + i64::from(self.picos.rem_euclid(PICOS_PER_NANO) != 0)
    }

    /// The cost as decimal text: money crosses the wire as that, never as a float.
    pub fn usd(&self) -> String {
        usd(self.picos)
    }

    /// As an element of the array that `record_llm_costs` takes.
    pub fn batch_record(&self) -> serde_json::Value {
        serde_json::json!({
            "tenant_id": self.tenant.to_string(), "model_provider": "p", "model_name": "m", "input_tokens": 1, "output_tokens": 1,
            "user_id": self.user.map(|user| user.to_string()), "cost_usd": self.usd(), "request_id": self.request, "enforce": self.enforce
        })
    }

    /// The call as SQL text, for clients that speak only the simple protocol.
    pub fn sql(&self) -> String {
        let quoted = |text: &Option<String>| text.as_ref().map_or("null".to_string(), |text| format!("'{text}'"));
        let (tenant, user) = (self.tenant, quoted(&self.user.map(|user| user.to_string())));
        let (usd, request, enforce) = (self.usd(), quoted(&self.request), self.enforce);
        match self.function {
            Function::Llm => format!(
                "select recorded from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_user_id => {user}, \
                 p_cost_usd => {usd}, p_request_id => {request}, p_enforce => {enforce})"
            ),
            Function::E2b => format!(
                "select recorded from public.record_e2b_cost('{tenant}', 's', 't', 1, p_user_id => {user}, \
                 p_cost_usd => {usd}, p_request_id => {request}, p_enforce => {enforce})"
            ),
            Function::Bare => {
                let (scope, subject) = self.bare_scope();
                format!(
                    "select allowed from public.check_and_record_quota_atomic('{scope}', '{subject}', {usd}, 'llm', \
                     '{tenant}', {request})"
                )
            }
        }
    }

    fn bare_scope(&self) -> (&'static str, Uuid) {
        self.user.map_or(("tenant", self.tenant), |user| ("user", user))
    }
}

/// An amount of 1e-12 USD as text.
pub fn usd(picos: i64) -> String {
    const PICOS: i64 = 1_000_000_000_000;
    format!("{}.{:012}", picos / PICOS, picos % PICOS)
}

/// What the server said to one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub recorded: bool,
    /// `check_and_record_quota_atomic` tells none.
    pub id: Option<Uuid>,
    pub replayed: bool,
    /// Whether the refusal is said to be due to work in flight alone; `None` where the server does not say.
    pub retryable: Option<bool>,
    /// What the quota that is told about has left.
    pub remaining_nanos: Option<i64>,
}

impl Answer {
    pub fn read(row: &Row) -> Answer {
        Answer {
            recorded: row.get("recorded"),
            id: row.get("id"),
            replayed: row.get::<_, Option<bool>>("replayed").unwrap_or_default(),
            retryable: row.get("retryable"),
            remaining_nanos: row.get("remaining_nanos"),
        }
    }
}

/// What of the optional surface this server offers: it has more when the library is preloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// Whether answers to charges say `retryable`.
    pub retryable: [bool; 3],
    pub retryable_in_batch: bool,
    /// `copilot_internal.pending()`.
    pub pending: bool,
    /// `metrics.admission`.
    pub admission: bool,
}

impl Surface {
    pub fn of(client: &mut Client) -> Result<Surface> {
        let says = |name: &str| {
            format!(
                "coalesce('retryable' = any ((select p.proargnames from pg_proc p
                     where p.oid = to_regproc('public.{name}'))::text[]), false)"
            )
        };
        let names =
            ["record_llm_cost", "record_e2b_cost", "check_and_record_quota_atomic", "record_llm_costs"].map(says);
        let sql = format!(
            "select {}, to_regprocedure('copilot_internal.pending()') is not null,
                    to_regclass('metrics.admission') is not null",
            names.join(", ")
        );
        let row = client.query_one(&sql, &[]).context("cannot read the server's functions")?;
        let retryable = [row.get(0), row.get(1), row.get(2)];
        Ok(Surface { retryable, retryable_in_batch: row.get(3), pending: row.get(4), admission: row.get(5) })
    }

    /// The select list that [`Answer::read`] reads.
    fn columns(self, function: Function) -> String {
        let retryable = if self.retryable[function as usize] { "retryable" } else { "null::boolean as retryable" };
        let figure = "(remaining_usd * 1000000000)::bigint as remaining_nanos";
        match function {
            Function::Bare => {
                format!("allowed as recorded, null::uuid as id, null::boolean as replayed, {retryable}, {figure}")
            }
            _ => format!("recorded, cost_record_id as id, replayed, {retryable}, {figure}"),
        }
    }

    pub fn batch_query(self) -> String {
        let retryable = if self.retryable_in_batch { "retryable" } else { "null::boolean as retryable" };
        format!(
            "select recorded, cost_record_id as id, replayed, {retryable},
                    (remaining_usd * 1000000000)::bigint as remaining_nanos
             from public.record_llm_costs($1::text::jsonb) order by ordinal"
        )
    }
}

/// The calls, prepared on one connection; in those that check, too, the check is in the command of the charge.
pub struct Statements {
    charges: [Statement; 3],
    charges_that_look: [Statement; 3],
    batch: Statement,
}

/// A call with the parameters of its function.
fn call(function: Function) -> &'static str {
    match function {
        Function::Llm => {
            "public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => $3::text::numeric,
                 p_request_id => $4, p_enforce => $5)"
        }
        Function::E2b => {
            "public.record_e2b_cost($1, 's', 't', 1, p_user_id => $2, p_cost_usd => $3::text::numeric,
                 p_request_id => $4, p_enforce => $5)"
        }
        Function::Bare => "public.check_and_record_quota_atomic($1, $2, $3::text::numeric, 'llm', $4, $5)",
    }
}

impl Statements {
    pub fn prepare(client: &mut Client, surface: Surface) -> Result<Statements, Error> {
        let mut prepare = |function: Function, checks: bool| {
            let tenant = if function == Function::Bare { "$4" } else { "$1" };
            // It names what the charge has said, so it comes after it.
            let check = format!(
                "cross join lateral (select q.allowed from public.check_quota_before_operation(
                     {tenant}, '{}', length(coalesce(c.reason, '')) * 0.000000001) q) asked (may)",
                function.resource()
            );
            let check = if checks { check } else { String::new() };
            client.prepare(&format!("select {} from {} c {check}", surface.columns(function), call(function)))
        };
        Ok(Statements {
            charges: [prepare(Function::Llm, false)?, prepare(Function::E2b, false)?, prepare(Function::Bare, false)?],
            charges_that_look: [
                prepare(Function::Llm, true)?,
                prepare(Function::E2b, true)?,
                prepare(Function::Bare, true)?,
            ],
            batch: client.prepare(&surface.batch_query())?,
        })
    }

    /// Every third charge checks as well.
    pub fn charge(&self, client: &mut Client, charge: &Charge) -> Result<Answer, Error> {
        let usd = charge.usd();
        let statements = if charge.nanos() % 3 == 0 { &self.charges_that_look } else { &self.charges };
        let statement = &statements[charge.function as usize];
        let row = match charge.function {
            Function::Llm | Function::E2b => {
                client.query_one(statement, &[&charge.tenant, &charge.user, &usd, &charge.request, &charge.enforce])?
            }
            Function::Bare => {
                let (scope, subject) = charge.bare_scope();
                client.query_one(statement, &[&scope, &subject, &usd, &charge.tenant, &charge.request])?
            }
        };
        Ok(Answer::read(&row))
    }

    pub fn batch(&self, client: &mut Client, charges: &[Charge]) -> Result<Vec<Answer>, Error> {
        let records: serde_json::Value = charges.iter().map(Charge::batch_record).collect();
        Ok(client.query(&self.batch, &[&records.to_string()])?.iter().map(Answer::read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_count_whole_nano_dollars_rounded_up() {
        let charge = |picos| Charge {
            function: Function::Llm,
            tenant: Uuid::nil(),
            user: None,
            picos,
            enforce: true,
            request: None,
        };
        assert_eq!([0, 1, 1_000, 1_001].map(|picos| charge(picos).nanos()), [0, 1, 1, 2]);
        assert_eq!(charge(2_000_000_000_001).usd(), "2.000000000001");
    }
}
