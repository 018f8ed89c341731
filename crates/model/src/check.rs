//! Explores the models, each whole and with each of its mutants.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::holds::{HOLD_SCENARIOS, HoldScenario, Holds};
use crate::machine::Escrow;
use crate::mutant::{Mutant, Watch};
use crate::scenario::{SCENARIOS, Scenario};

/// One model, whole or as a mutant.
#[derive(Clone, Copy)]
pub struct Check {
    explored: Explored,
    pub mutant: Option<Mutant>,
}

#[derive(Clone, Copy)]
enum Explored {
    Escrow(&'static Scenario),
    Holds(&'static HoldScenario),
}

/// How an invariant was broken: by which actions, the fewest there are.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: &'static str,
    pub trace: Vec<String>,
}

#[derive(Clone)]
pub struct Verdict {
    pub check: Check,
    pub states: usize,
    pub depth: usize,
    pub took: Duration,
    pub violation: Option<Violation>,
}

/// Every model with its mutants, in the order in which they are shown.
pub fn checks() -> Vec<Check> {
    let escrow = SCENARIOS.iter().map(|scenario| (Explored::Escrow(scenario), scenario.mutants));
    let holds = HOLD_SCENARIOS.iter().map(|scenario| (Explored::Holds(scenario), scenario.mutants));
    let with_mutants = |(explored, mutants): (Explored, &'static [Mutant])| {
        let all = std::iter::once(None).chain(mutants.iter().map(|mutant| Some(*mutant)));
        all.map(move |mutant| Check { explored, mutant })
    };
    escrow.chain(holds).flat_map(with_mutants).collect()
}

/// Runs them, as many at a time as there are processors and no more than four. Each explores in one thread, so that a
/// trace is a shortest one and the same each time. `done` hears of each as it ends.
pub fn run(checks: &[Check], done: impl Fn(&Verdict) + Sync) -> Vec<Verdict> {
    let workers = std::thread::available_parallelism().map_or(1, |it| it.get().min(4));
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![None; checks.len()]);
    let work = || {
        while let Some((index, check)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            checks.get(index).map(|check| (index, check))
        } {
            let verdict = check.run();
            done(&verdict);
            // Nothing panics while holding it: it is held for the assignment alone.
            verdicts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[index] = Some(verdict);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    verdicts.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().flatten().collect()
}

impl Check {
    pub fn model(&self) -> &'static str {
        match self.explored {
            Explored::Escrow(scenario) => scenario.name,
            Explored::Holds(scenario) => scenario.name,
        }
    }

    /// The world of the model, or the rule that the mutant breaks.
    pub fn says(&self) -> &'static str {
        match (self.mutant, self.explored) {
            (Some(mutant), _) => mutant.says(),
            (None, Explored::Escrow(scenario)) => scenario.says,
            (None, Explored::Holds(scenario)) => scenario.says,
        }
    }

    pub fn run(&self) -> Verdict {
        if self.mutant.is_some() {
            let verdict = self.watching(Watch::Consequences);
            if verdict.violation.is_some() {
                return verdict;
            }
        }
        self.watching(Watch::Everything)
    }

    fn watching(&self, watch: Watch) -> Verdict {
        let mutant = self.mutant;
        match self.explored {
            Explored::Escrow(scenario) => self.explore(Escrow { scenario, mutant, watch }),
            Explored::Holds(scenario) => self.explore(Holds { scenario, mutant, watch }),
        }
    }

    fn explore<M>(&self, model: M) -> Verdict
    where
        M: Model<
                State: Clone + Debug + Hash + PartialEq + Send + Sync,
                Action: Clone + Debug + PartialEq + Send + Sync,
            >,
        M: Send + Sync + 'static,
    {
        let started = Instant::now();
        let checker = model.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let first = checker.discoveries().into_iter().min_by_key(|(_, path)| path.clone().into_actions().len());
        let violation = first.map(|(invariant, path)| {
            let trace = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
            Violation { invariant, trace }
        });
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        Verdict { check: *self, states, depth, took: started.elapsed(), violation }
    }
}

impl Verdict {
    /// The design holds; a mutant is caught.
    pub fn is_good(&self) -> bool {
        self.check.mutant.is_some() == self.violation.is_some()
    }

    /// In words.
    pub fn result(&self) -> String {
        match (&self.violation, self.check.mutant) {
            (None, None) => "holds".to_string(),
            (None, Some(_)) => "NOT CAUGHT".to_string(),
            (Some(it), None) => format!("VIOLATED: {} after {} steps", it.invariant, it.trace.len()),
            (Some(it), Some(_)) => format!("caught: {} after {} steps", it.invariant, it.trace.len()),
        }
    }
}
