//! Sandbox sessions in the ledger.

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use super::attribution::{
    Attribution, BILLED_COLUMN, COST_CHECKS, COST_COLUMNS, FIND_TYPES, METADATA_COLUMN, OWNER_COLUMNS, RecordArgs,
    find_record, join,
};
use super::{Cost, Record, RecordTerms, Row, Source, Stored};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::shape::{Column, nullable, required};
use crate::pg::spi::types::{NUMERIC, TEXT};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::pricing::lookup::{Model, SandboxUse, quote_sandbox};
use tollgate_core::decision::Resource;
use tollgate_core::money::{Rounding, format_scaled, parse_scaled};

/// The arguments of `record_e2b_cost`, as they came.
#[derive(Default)]
pub struct Arguments {
    pub attribution: RecordArgs,
    pub sandbox_id: Option<String>,
    pub sandbox_type: Option<String>,
    pub duration_seconds: Option<String>,
    pub region: Option<String>,
    pub vcpu_seconds: Option<String>,
    pub memory_gib_seconds: Option<String>,
    pub provider: Option<String>,
    pub disk_gib_seconds: Option<String>,
    pub gpu_seconds: Option<String>,
    pub creations: Option<String>,
    pub egress_gib: Option<String>,
}

/// The provider of a sandbox when the caller names none.
pub const PROVIDER: &str = "e2b";

/// A session whose arguments are valid. Quantities are decimal text of at most nine places.
pub struct SandboxSession {
    attribution: Attribution,
    sandbox_id: Option<String>,
    sandbox_type: String,
    duration_seconds: String,
    region: Option<String>,
    vcpu_seconds: Option<String>,
    memory_gib_seconds: Option<String>,
    provider: String,
    disk_gib_seconds: Option<String>,
    gpu_seconds: Option<String>,
    creations: Option<String>,
    egress_gib: Option<String>,
}

/// Decimal places of a stored quantity: nanoseconds.
const QUANTITY_SCALE: u32 = 9;

/// A quantity, in seconds unless it is something else, rounded half to even to nine places.
pub fn quantity(text: &str, name: &str) -> Result<String> {
    /// A thousand years of a thousand processors; a bound, not a judgement.
    const MAX_SECONDS: i128 = 1_000 * 1_000 * 366 * 86_400;
    let parsed =
        parse_scaled(text, QUANTITY_SCALE, Rounding::HalfEven).map_err(|error| arguments::out_of_range(name, error))?;
    if parsed > MAX_SECONDS * 1_000_000_000 {
        return Err(Error::invalid(format!("{name} must not be more than {MAX_SECONDS}")));
    }
    Ok(format_scaled(parsed, QUANTITY_SCALE))
}

impl TryFrom<Arguments> for SandboxSession {
    type Error = Error;

    fn try_from(given: Arguments) -> Result<Self> {
        let duration = arguments::required(given.duration_seconds, "p_duration_seconds")?;
        let measured = |text: Option<String>, name: &str| text.map(|text| quantity(&text, name)).transpose();
        let provider = arguments::text(given.provider, "p_provider")?;
        Ok(Self {
            attribution: given.attribution.try_into()?,
            sandbox_id: arguments::text(given.sandbox_id, "p_sandbox_id")?,
            sandbox_type: arguments::required_text(given.sandbox_type, "p_sandbox_type")?,
            duration_seconds: quantity(&duration, "p_duration_seconds")?,
            region: arguments::text(given.region, "p_region")?,
            vcpu_seconds: measured(given.vcpu_seconds, "p_vcpu_seconds")?,
            memory_gib_seconds: measured(given.memory_gib_seconds, "p_memory_gib_seconds")?,
            provider: provider.unwrap_or_else(|| PROVIDER.to_owned()),
            disk_gib_seconds: measured(given.disk_gib_seconds, "p_disk_gib_seconds")?,
            gpu_seconds: measured(given.gpu_seconds, "p_gpu_seconds")?,
            creations: measured(given.creations, "p_creations")?,
            egress_gib: measured(given.egress_gib, "p_egress_gib")?,
        })
    }
}

const FIND: &str = find_record!(
    "e2b_cost_records",
    "r.sandbox_id, r.sandbox_type, r.region, r.duration_seconds, r.vcpu_seconds, r.memory_gib_seconds, r.provider,
            r.disk_gib_seconds, r.gpu_seconds, r.creations, r.egress_gib",
    "$8::text, $9::text, $10::text, $11::numeric, $12::numeric, $13::numeric, $14::text,
            $15::numeric, $16::numeric, $17::numeric, $18::numeric"
);

/// The columns that tell what was used.
const SESSION_COLUMNS: [Column; 6] = [
    nullable("sandbox_id", TEXT),
    required("sandbox_type", TEXT),
    nullable("region", TEXT),
    required("duration_seconds", NUMERIC),
    nullable("vcpu_seconds", NUMERIC),
    nullable("memory_gib_seconds", NUMERIC),
];
const PROVIDER_COLUMNS: [Column; 5] = [
    required("provider", TEXT),
    nullable("disk_gib_seconds", NUMERIC),
    nullable("gpu_seconds", NUMERIC),
    nullable("creations", NUMERIC),
    nullable("egress_gib", NUMERIC),
];
const COLUMNS: [Column; 27] =
    join(&[&OWNER_COLUMNS, &SESSION_COLUMNS, &COST_COLUMNS, &[METADATA_COLUMN], &PROVIDER_COLUMNS, &[BILLED_COLUMN]]);
const CHECKS: [&str; 9] = join(&[
    &COST_CHECKS,
    &[
        "(creations >= (0)::numeric)",
        "(disk_gib_seconds >= (0)::numeric)",
        "(duration_seconds >= (0)::numeric)",
        "(egress_gib >= (0)::numeric)",
        "(gpu_seconds >= (0)::numeric)",
        "(memory_gib_seconds >= (0)::numeric)",
        "(vcpu_seconds >= (0)::numeric)",
    ],
]);

static TABLE: Table = Table::new(c"e2b_cost_records", &COLUMNS, &CHECKS, true);

const TYPES: [Oid; 18] =
    join(&[&FIND_TYPES, &[TEXT, TEXT, TEXT, NUMERIC, NUMERIC, NUMERIC], &[TEXT, NUMERIC, NUMERIC, NUMERIC, NUMERIC]]);
static FIND_PLAN: Plan = Plan::new(FIND, &TYPES);

impl SandboxSession {
    /// The values of [`SESSION_COLUMNS`].
    fn session_values(&self) -> [Value; SESSION_COLUMNS.len()] {
        [
            self.sandbox_id.as_deref().into(),
            self.sandbox_type.as_str().into(),
            self.region.as_deref().into(),
            Value::numeric(&self.duration_seconds),
            Value::decimal(self.vcpu_seconds.as_deref()),
            Value::decimal(self.memory_gib_seconds.as_deref()),
        ]
    }

    /// The values of [`PROVIDER_COLUMNS`].
    fn provider_values(&self) -> [Value; PROVIDER_COLUMNS.len()] {
        [
            self.provider.as_str().into(),
            Value::decimal(self.disk_gib_seconds.as_deref()),
            Value::decimal(self.gpu_seconds.as_deref()),
            Value::decimal(self.creations.as_deref()),
            Value::decimal(self.egress_gib.as_deref()),
        ]
    }
}

impl Record for SandboxSession {
    fn terms(&self) -> RecordTerms<'_> {
        self.attribution.terms(Resource::E2b)
    }

    fn source(&self) -> Source {
        Source { name: "e2b", table: &TABLE }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let find = self.attribution.find_values(request_id, user);
        let parameters: [Value; TYPES.len()] = join(&[&find, &self.session_values(), &self.provider_values()]);
        super::stored(&spi.run(&FIND_PLAN, Snapshot::Latest, &parameters)?)
    }

    fn cost(&self, occurred_at: Timestamp) -> Result<Cost> {
        let attribution = &self.attribution;
        let sandbox = SandboxUse {
            provider: &self.provider,
            sandbox_type: &self.sandbox_type,
            region: self.region.as_deref(),
            quantities: [
                Some(&self.duration_seconds),
                self.vcpu_seconds.as_deref(),
                self.memory_gib_seconds.as_deref(),
                self.disk_gib_seconds.as_deref(),
                self.gpu_seconds.as_deref(),
                self.creations.as_deref(),
                self.egress_gib.as_deref(),
            ],
        };
        let quote = quote_sandbox(Some(attribution.tenant), sandbox, occurred_at)?;
        let kind = Model { provider: &self.provider, name: &self.sandbox_type };
        Ok(Cost::new(attribution.provided(kind, occurred_at)?, quote))
    }

    fn row(&self, row: &Row<'_>) -> Result<Vec<Value>> {
        let attribution = &self.attribution;
        let cost = attribution.cost_values(row)?;
        Ok(join::<_, { COLUMNS.len() }>(&[
            &attribution.owner_values(row),
            &self.session_values(),
            &cost,
            &[attribution.metadata_value()],
            &self.provider_values(),
            &[Attribution::billed_value(row, cost)],
        ])
        .to_vec())
    }
}
