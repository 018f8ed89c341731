//! The launcher, which starts a worker where there is something to fold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{REST, WORKER};
use crate::pg::background::{self, Started};
use crate::pg::{clock_timestamp, memory};
use crate::settings;

/// As long as there is no news, this long between two looks at the hints. It is the longest that rows are left alone in
/// a database that has just begun to charge.
const NAP: Duration = Duration::from_secs(5);

struct Launcher {
    running: BTreeMap<u32, Started>,
    /// When each database was visited last, since the server has started; `None` for one that has yet to be.
    visited: BTreeMap<u32, Option<Instant>>,
}

pub fn run() {
    background::connect(0);
    let found = background::transaction(background::databases);
    let visited = found.into_iter().map(|database| (database, None)).collect();
    let mut launcher = Launcher { running: BTreeMap::new(), visited };
    loop {
        launcher.look();
        background::show_activity(None);
        background::nap(NAP);
    }
}

impl Launcher {
    fn look(&mut self) {
        self.running.retain(|_, worker| !worker.has_ended());
        let room = settings::workers().saturating_sub(self.running.len());
        let is_new = self.visited.values().any(Option::is_none);
        if room == 0 || !is_new && memory::is_idle(clock_timestamp()) {
            return;
        }
        for database in self.next().into_iter().take(room) {
            let activity = memory::activity_of(database);
            // What holds if it cannot even connect.
            activity.inspect(|activity| activity.rest_until(Some(clock_timestamp() + REST)));
            let Some(worker) = WORKER.start(database) else {
                // No room for another process: the next time.
                activity.inspect(|activity| activity.rest_until(None));
                return;
            };
            self.running.insert(database, worker);
            self.visited.insert(database, Some(Instant::now()));
        }
    }

    /// Databases with work and without a worker, those first that were visited longest ago.
    fn next(&mut self) -> Vec<u32> {
        let present = background::transaction(background::databases);
        self.visited.retain(|database, _| present.contains(database));
        let now = clock_timestamp();
        let visited = |database: &u32| self.visited.get(database).copied();
        let has_work = |database: &u32| {
            // One that was made since is not looked at before it charges.
            visited(database) == Some(None)
                || memory::activity_of(*database).is_some_and(|activity| activity.has_work(now))
        };
        // One that has given way to others is not back at once.
        let is_free = |database: &u32| {
            !self.running.contains_key(database)
                && visited(database).flatten().is_none_or(|visited| visited.elapsed() >= NAP)
        };
        let mut next: Vec<u32> = present.into_iter().filter(is_free).filter(has_work).collect();
        next.sort_by_key(|database| visited(database).flatten());
        next
    }
}
