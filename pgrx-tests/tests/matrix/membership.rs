//! Members and what they may ask: about themselves, about each other, and not any more.

use anyhow::Result;
use tollgate_tests::session::{Caller, Session};
use uuid::Uuid;

use crate::support::{Database, texts};
use crate::world::{admin_a, seed, suspended_a, tenant_a, tenant_b, viewer_a};

const CHECK: &str = "select allowed from public.check_quota_before_operation($1, 'llm', 0.01, $2)";
const HAS: &str = "select public.has_quota($1, 'llm', 0.01, $2)";
const REQUIRE: &str = "select public.require_quota($1, 'llm', 0.01, $2)";

fn seeded() -> Result<(Database, Session)> {
    let database = Database::fresh()?;
    seed(&database)?;
    let session = database.session()?;
    Ok((database, session))
}

#[test]
fn a_member_asks_about_themselves_and_an_owner_or_admin_about_any_member() -> Result<()> {
    let (_database, mut session) = seeded()?;
    let a = tenant_a();
    let people = [a.owner, admin_a(), a.member, viewer_a()];
    for asking in people {
        let caller = Caller::user(asking, Some(a.tenant)).read_only();
        for about in people {
            let allowed = about == asking || asking == a.owner || asking == admin_a();
            assert_eq!(session.value::<bool>(&caller, HAS, &[&a.tenant, &about])?, allowed, "{asking} about {about}");
            if allowed {
                assert!(session.value::<bool>(&caller, CHECK, &[&a.tenant, &about])?);
            } else {
                session.expect_sqlstate(&caller, CHECK, &[&a.tenant, &about], "42501");
                session.expect_sqlstate(&caller, REQUIRE, &[&a.tenant, &about], "42501");
            }
        }
        session.value::<bool>(&caller, CHECK, &[&a.tenant, &None::<Uuid>])?;
    }
    Ok(())
}

#[test]
fn a_foreign_tenant_is_false_to_has_quota_and_42501_to_the_others() -> Result<()> {
    let (_database, mut session) = seeded()?;
    let (a, b) = (tenant_a(), tenant_b());
    let unknown = crate::support::id(0xffff);
    let caller = Caller::user(a.owner, Some(b.tenant)).read_only();
    for tenant in [b.tenant, unknown] {
        for about in [None, Some(a.owner), Some(b.member)] {
            assert!(!session.value::<bool>(&caller, HAS, &[&tenant, &about])?);
            let foreign = session.expect_sqlstate(&caller, CHECK, &[&tenant, &about], "42501");
            session.expect_sqlstate(&caller, REQUIRE, &[&tenant, &about], "42501");
            // A tenant that does not exist is refused in the same words: they do not tell which ids are taken.
            let message = foreign.as_db_error().map(|error| error.message().to_string());
            assert_eq!(message.as_deref(), Some("you are not an active member of this tenant"));
        }
        let summary = "select total_cost_usd::text from public.get_tenant_cost_summary($1)";
        session.expect_sqlstate(&caller, summary, &[&tenant], "42501");
    }
    Ok(())
}

#[test]
fn the_current_tenant_follows_membership_then_claims_then_preference() -> Result<()> {
    let (database, mut session) = seeded()?;
    let (a, b) = (tenant_a(), tenant_b());
    let current = "select public.get_current_tenant_id()";
    let mut ask = |caller: &Caller| session.value::<Option<Uuid>>(caller, current, &[]);
    assert_eq!(ask(&Caller::user(a.member, Some(a.tenant)))?, Some(a.tenant));
    // The claim of a foreign tenant is a wish; the preference is the user's own.
    assert_eq!(ask(&Caller::user(a.member, Some(b.tenant)))?, Some(a.tenant));
    assert_eq!(ask(&Caller::user(admin_a(), Some(b.tenant)))?, None);
    assert_eq!(ask(&Caller::user(admin_a(), Some(a.tenant)))?, Some(a.tenant));
    assert_eq!(ask(&Caller::user(suspended_a(), Some(a.tenant)))?, None);
    assert_eq!(ask(&Caller::role("authenticated", None))?, None);
    // A member of both works where their token says, else where they prefer.
    database.superuser()?.execute(
        "insert into copilot_internal.tenant_memberships (tenant_id, user_id) values ($1, $2)",
        &[&b.tenant, &a.member],
    )?;
    assert_eq!(ask(&Caller::user(a.member, Some(b.tenant)))?, Some(b.tenant));
    assert_eq!(ask(&Caller::user(a.member, None))?, Some(a.tenant));
    let other = "select public.get_current_tenant_id($1)";
    session.expect_sqlstate(&Caller::user(a.owner, Some(a.tenant)), other, &[&a.member], "42501");
    assert_eq!(session.value::<Option<Uuid>>(&Caller::service(), other, &[&a.member])?, Some(a.tenant));
    Ok(())
}

#[test]
fn a_revoked_membership_is_over_although_the_token_is_not() -> Result<()> {
    let (database, mut session) = seeded()?;
    let a = tenant_a();
    let mut server = database.superuser()?;
    let changes = [
        "update copilot_internal.tenant_memberships set status = 'suspended' where user_id = $1",
        "delete from copilot_internal.tenant_memberships where user_id = $1",
        "update copilot_internal.tenants set deleted_at = now()
         where id in (select tenant_id from copilot_internal.tenant_memberships where user_id = $1)",
    ];
    let caller = Caller::user(a.member, Some(a.tenant)).read_only();
    let shown = "select count(*) from metrics.quota_status where tenant_id is not null";
    let stored = "select count(*) from copilot_internal.llm_cost_records";
    for change in changes {
        // The same connection, its plans prepared and warm, before and after.
        assert!(session.value::<bool>(&caller, HAS, &[&a.tenant, &a.member])?, "before {change}");
        assert!(session.value::<i64>(&caller, shown, &[])? > 0);
        assert!(session.value::<i64>(&caller, stored, &[])? > 0);
        let mut transaction = server.transaction()?;
        transaction.execute(change, &[&a.member])?;
        // Until it commits they are a member.
        assert!(session.value::<bool>(&caller, HAS, &[&a.tenant, &a.member])?);
        transaction.commit()?;
        assert!(!session.value::<bool>(&caller, HAS, &[&a.tenant, &a.member])?, "after {change}");
        session.expect_sqlstate(&caller, CHECK, &[&a.tenant, &a.member], "42501");
        assert_eq!(session.value::<i64>(&caller, shown, &[])?, 0);
        assert_eq!(session.value::<i64>(&caller, stored, &[])?, 0);
        assert_eq!(session.value::<Option<Uuid>>(&caller, "select public.get_current_tenant_id()", &[])?, None);
        server.batch_execute(&format!(
            "update copilot_internal.tenants set deleted_at = null where deleted_at is not null;
             delete from copilot_internal.tenant_memberships where user_id = '{0}';
             insert into copilot_internal.tenant_memberships (tenant_id, user_id) values ('{1}', '{0}')",
            a.member, a.tenant
        ))?;
    }
    Ok(())
}

#[test]
fn a_refusal_by_the_platform_tells_a_member_no_figures() -> Result<()> {
    let (database, mut session) = seeded()?;
    let a = tenant_a();
    let mut server = database.superuser()?;
    server.batch_execute("select public.set_quota('platform', null, 'llm', 0.000001)")?;
    let caller = Caller::user(a.owner, Some(a.tenant)).read_only();
    let sql = "select to_jsonb(c)::text from public.check_quota_before_operation($1, 'llm', 0.01) c";
    let answer: serde_json::Value = serde_json::from_str(&session.value::<String>(&caller, sql, &[&a.tenant])?)?;
    assert_eq!((&answer["allowed"], &answer["blocked_scope"]), (&false.into(), &"platform".into()));
    for figure in ["limit_usd", "current_spend_usd", "reserved_usd", "remaining_usd", "usage_percentage"] {
        assert!(answer[figure].is_null(), "{figure}: {answer}");
    }
    assert!(!answer["reason"].as_str().unwrap_or_default().contains("0.000001"), "{answer}");
    let refused = session.expect_sqlstate(&caller, REQUIRE, &[&a.tenant, &a.owner], "PGRST");
    assert!(!format!("{refused:?}").contains("0.000001"), "{refused:?}");
    // The server sees them.
    let told = texts(
        &mut server,
        "select limit_usd::text from public.check_quota_before_operation($1, 'llm', 0.01)",
        &[&a.tenant],
    )?;
    assert_eq!(told, ["0.000001"]);
    Ok(())
}
