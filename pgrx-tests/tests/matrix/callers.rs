//! Callers: their kinds, what each is entitled to, and one request in the name of each.

use anyhow::Result;
use postgres::{Error, SimpleQueryMessage, Transaction};
use serde_json::{Value, json};
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::pgbouncer::Pgbouncer;
use tollgate_tests::session::{Caller, Session, claims, literal, message, sqlstate};
use uuid::Uuid;

use crate::support::{Database, id};
use crate::world::{PLATFORM_MARKERS, admin_a, invited_a, suspended_a, tenant_a, tenant_b, viewer_a};

/// What a caller is to the extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Superuser,
    /// Supabase's `postgres`: no superuser, but has `service_role` and reads everything.
    Administrator,
    Service,
    Analyst,
    /// Reads everything, past row level security: Supabase's `supabase_read_only_user`.
    Auditor,
    /// May read every table and is held by row level security: Supabase's `supabase_etl_admin`.
    Replicator,
    /// An active member of tenant A.
    MemberOfA,
    /// An active member of tenant B.
    MemberOfB,
    /// Invited to tenant A, of which they may know the name and nothing else.
    Invited,
    /// `authenticated`, and a member of nothing.
    Stranger,
    Anon,
}

pub struct Asker {
    pub label: &'static str,
    pub kind: Kind,
    /// The user that the extension takes the caller for, if any.
    pub subject: Option<Uuid>,
    /// Whether the caller's token has their e-mail address.
    pub has_email: bool,
    caller: Caller,
    /// Claims as they stand in the setting, where no JSON value could say it.
    raw_claims: Option<String>,
}

impl Asker {
    fn new(label: &'static str, kind: Kind, caller: Caller) -> Asker {
        Asker { label, kind, subject: None, has_email: false, caller, raw_claims: None }
    }

    fn person(label: &'static str, kind: Kind, user: Uuid, tenant: Option<Uuid>) -> Asker {
        let caller = Caller::user(user, tenant);
        Asker { label, kind, subject: Some(user), has_email: true, caller, raw_claims: None }
    }

    fn forged(label: &'static str, subject: Option<Uuid>, claims: &Value) -> Asker {
        let caller = Caller::role("authenticated", None);
        let raw_claims = Some(claims.to_string());
        Asker { label, kind: Kind::Stranger, subject, has_email: false, caller, raw_claims }
    }

    fn malformed(label: &'static str, text: &str) -> Asker {
        let caller = Caller::role("authenticated", None);
        let raw_claims = Some(text.to_string());
        Asker { label, kind: Kind::Stranger, subject: None, has_email: false, caller, raw_claims }
    }

    /// The caller's role in a tenant, where they are an active member of it.
    pub fn role_in(&self, tenant: Uuid) -> Option<&'static str> {
        let (a, b) = (tenant_a(), tenant_b());
        let subject = self.subject?;
        let of_a = [(a.owner, "owner"), (admin_a(), "admin"), (a.member, "member"), (viewer_a(), "viewer")];
        let of_b = [(b.owner, "owner"), (b.member, "member")];
        let members: &[(Uuid, &'static str)] = if tenant == a.tenant { &of_a } else { &of_b };
        members.iter().find(|(user, _)| *user == subject).map(|(_, role)| *role)
    }

    /// What this caller must not find in anything that they get.
    pub fn forbidden_markers(&self) -> Vec<String> {
        let platform = PLATFORM_MARKERS.map(str::to_string).to_vec();
        let (a, b) = (tenant_a().markers(), tenant_b().markers());
        match self.kind {
            Kind::Superuser | Kind::Administrator | Kind::Service | Kind::Analyst | Kind::Auditor => Vec::new(),
            Kind::MemberOfA => [b, platform].concat(),
            Kind::MemberOfB => [a, platform].concat(),
            Kind::Invited => {
                let known = [tenant_a().tenant.to_string(), tenant_a().name.to_string(), invited_a().to_string()];
                [a.into_iter().filter(|marker| !known.contains(marker)).collect(), b, platform].concat()
            }
            Kind::Replicator | Kind::Stranger | Kind::Anon => [a, b, platform].concat(),
        }
    }

    pub fn sees_all(&self) -> bool {
        matches!(self.kind, Kind::Superuser | Kind::Administrator | Kind::Service | Kind::Analyst | Kind::Auditor)
    }
}

/// One connection as PostgREST has it, one for the roles that PostgREST cannot take on.
pub struct Sessions {
    api: Session,
    other: Session,
}

impl Sessions {
    pub fn open(database: &Database) -> Result<Sessions> {
        let other = Session::open_as(database.cluster, &database.name, SUPERUSER)?;
        Ok(Sessions { api: database.session()?, other })
    }

    /// All through one server connection each.
    pub fn pooled(database: &Database, pooler: &Pgbouncer) -> Result<Sessions> {
        let open = |user| Session::pooled(pooler, &database.name, user);
        Ok(Sessions { api: open("authenticator")?, other: open(SUPERUSER)? })
    }

    fn request<T>(
        &mut self,
        asker: &Asker,
        work: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let session = match asker.kind {
            Kind::Superuser | Kind::Administrator | Kind::Analyst | Kind::Auditor | Kind::Replicator => &mut self.other,
            _ => &mut self.api,
        };
        session.request(&asker.caller, |tx| {
            if let Some(claims) = &asker.raw_claims {
                tx.batch_execute(&format!("select set_config('request.jwt.claims', {}, true)", literal(claims)))?;
            }
            work(tx)
        })
    }

    /// Runs each query, whose first column is text, and undoes what it did: its texts, or the SQLSTATE with the
    /// message. All in one request, for a hundred callers' questions are many.
    pub fn ask(&mut self, asker: &Asker, queries: &[String]) -> Result<Vec<Answer>> {
        let answers = self.request(asker, |tx| {
            let mut answers = Vec::with_capacity(queries.len());
            for sql in queries {
                let mut savepoint = tx.savepoint("asked")?;
                answers.push(savepoint.simple_query(sql).map(first_column).map_err(|error| match sqlstate(&error) {
                    "" => format!("client: {error}"),
                    code => format!("{code} {}", message(&error)),
                }));
                savepoint.rollback()?;
            }
            Ok(answers)
        })?;
        Ok(answers)
    }
}

/// How the callers reach the server.
#[derive(Clone, Copy)]
pub enum Door {
    Direct,
    Pgbouncer,
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Door::Direct => "direct",
            Door::Pgbouncer => "PgBouncer",
        }
    }

    pub fn open(self, database: &Database) -> Result<(Option<Pgbouncer>, Sessions)> {
        match self {
            Door::Direct => Ok((None, Sessions::open(database)?)),
            Door::Pgbouncer => {
                let pooler = Pgbouncer::start(database.cluster)?;
                let sessions = Sessions::pooled(database, &pooler)?;
                Ok((Some(pooler), sessions))
            }
        }
    }
}

/// How many questions were asked, and how many of them had to be refused.
#[derive(Default)]
pub struct Cells {
    asked: usize,
    denied: usize,
    told_false: usize,
}

impl Cells {
    pub fn count(&mut self, denied: bool, told_false: bool) {
        self.asked += 1;
        self.denied += usize::from(denied);
        self.told_false += usize::from(told_false);
    }
}

impl std::fmt::Display for Cells {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Cells { asked, denied, told_false } = self;
        write!(out, "{asked} cells, {denied} refused with 42501, {told_false} told false")
    }
}

pub type Answer = Result<Vec<String>, String>;

fn first_column(messages: Vec<SimpleQueryMessage>) -> Vec<String> {
    let text = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_string()),
        _ => None,
    };
    messages.into_iter().filter_map(text).collect()
}

/// A token that says what its bearer would like to be.
fn token(user: Uuid, app: Value, own: Value) -> Value {
    json!({ "sub": user.to_string(), "role": "authenticated", "app_metadata": app, "user_metadata": own })
}

pub fn all() -> Vec<Asker> {
    let (a, b) = (tenant_a(), tenant_b());
    let stranger = id(0xe000_0000_0000_0001);
    let (ta, tb) = (a.tenant.to_string(), b.tenant.to_string());
    let person = |label, user| Asker::person(label, Kind::MemberOfA, user, Some(a.tenant));
    let padding = "x".repeat(100_000);
    vec![
        Asker::new("superuser", Kind::Superuser, Caller::role(SUPERUSER, None)),
        Asker::new("postgres", Kind::Administrator, Caller::role("postgres", None)),
        Asker::new("service_role", Kind::Service, Caller::service()),
        Asker::new("metrics_reader", Kind::Analyst, Caller::role("metrics_reader", None)),
        Asker::new("supabase_read_only_user", Kind::Auditor, Caller::role("supabase_read_only_user", None)),
        Asker::new("supabase_etl_admin", Kind::Replicator, Caller::role("supabase_etl_admin", None)),
        person("owner", a.owner),
        person("admin", admin_a()),
        person("member", a.member),
        person("viewer", viewer_a()),
        // The token names the victim's tenant; the membership decides.
        Asker::person("member with the other tenant's id", Kind::MemberOfA, a.member, Some(b.tenant)),
        Asker::person("suspended member", Kind::Stranger, suspended_a(), Some(a.tenant)),
        Asker::person("invited, not yet a member", Kind::Invited, invited_a(), Some(a.tenant)),
        Asker::person("owner of the other tenant", Kind::MemberOfB, b.owner, Some(b.tenant)),
        Asker::new("no claims", Kind::Stranger, Caller::role("authenticated", None)),
        Asker::person("member of nothing", Kind::Stranger, stranger, None),
        Asker::malformed("claims of a reused session", ""),
        Asker::malformed("malformed claims", &format!("{{\"sub\": \"{}\"", a.owner)),
        Asker::malformed("claims that are a list", &format!("[\"{}\"]", a.owner)),
        Asker::forged("sub that is no uuid", None, &json!({ "sub": "1 or 1=1", "role": "authenticated" })),
        Asker::forged("sub that is a list", None, &json!({ "sub": [a.owner.to_string()], "role": "authenticated" })),
        Asker::forged("sub in capitals and braces", None, &json!({ "sub": format!("{{{}}}", a.owner) })),
        Asker::forged(
            "user_metadata of the victim",
            Some(stranger),
            &token(stranger, json!({}), json!({ "tenant_id": ta, "sub": tb })),
        ),
        Asker::forged(
            "app_metadata of the victim",
            Some(stranger),
            &token(stranger, json!({ "tenant_id": ta }), json!({})),
        ),
        Asker::forged(
            "role in the claims",
            Some(stranger),
            &json!({ "sub": stranger.to_string(), "role": "service_role" }),
        ),
        Asker::forged("100 KB of claims", None, &token(stranger, json!({ "tenant_id": tb }), json!({ "x": padding }))),
        Asker::new("anon", Kind::Anon, Caller::anon()),
        // A token without the role: the claims name a user, the role names none.
        Asker::new(
            "anon with an owner's claims",
            Kind::Anon,
            Caller::role("anon", Some(claims(a.owner, Some(a.tenant)))),
        ),
    ]
}
