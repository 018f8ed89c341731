//! Sessions that talk: conversations are made, appended to, branched, merged, compacted and erased beside the charges.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;
use rand::RngExt;

use super::burst::{Burst, Session};
use super::errors::Circumstances;
use super::tally::Tally;

/// Streams of the seed, apart from all others'.
const TALKER: u64 = 1_100;
/// Several, so that they meet in the same conversations.
pub const TALKERS: u64 = 3;

/// One step after the other, some of them taken back.
pub fn talk(burst: &Burst, number: u64) -> Tally {
    let mut session = Session::new(burst);
    let mut rng = burst.rng(TALKER + number);
    while burst.goes_on() {
        let (kind, words) = (rng.random_range(0..100), rng.random_range(0..100_000));
        let end = if rng.random_ratio(1, 8) { "rollback" } else { "commit" };
        let sql = format!("begin; call torture.talk({kind}, {words}); {end}");
        session.within_timeout("talk", |session| {
            let ended = session.run("talk", Circumstances::default(), |it| it.client.batch_execute(&sql));
            if let Some(Err(_)) = ended {
                session.roll_back();
            }
        });
        thread::sleep(Duration::from_millis(rng.random_range(1..15)));
    }
    session.tally
}

/// What conversations note of themselves, recounted from their rows.
pub fn verify(client: &mut Client, tally: &mut Tally) -> Result<Vec<String>> {
    let sql =
        "select format('%s of %s: %s, not %s', check_name, id, actual, expected) from public.verify_conversations()";
    let rows = client.query(sql, &[]).context("verify_conversations()")?;
    tally.checked("verify_conversations() returns no row", 1);
    Ok(rows.iter().map(|row| format!("verify_conversations(): {}", row.get::<_, String>(0))).collect())
}
