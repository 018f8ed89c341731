//! Which errors are expected, and why; anything else fails the run. The same list judges the server's log.

use postgres::Error;
use postgres::error::Severity;

use crate::session::{message, sqlstate};

/// What an operation does that makes an error possible which is a fault elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    pub serializable: bool,
    /// A client charges several tenants by separate calls in one transaction, or changes quotas and charges. Another
    /// charges several times while quotas or tenants are made. A session that waits behind such a deadlock may be the
    /// one that is told.
    pub crossing: bool,
    /// It asks for something that is refused with this SQLSTATE.
    pub provoked: Option<&'static str>,
}

/// Errors that any session of a torture run may meet, with the reason.
const ANYWHERE: [(&str, &str); 4] = [
    ("57014", "cancelled, or over a statement timeout of some milliseconds"),
    ("57P01", "its backend was terminated, or the server was stopped"),
    ("57P02", "the server was reset since a backend was killed"),
    ("57P03", "the server is starting up, shutting down or recovering"),
];

const SERIALIZABLE: (&str, &str) = ("40001", "a charge at SERIALIZABLE beside another charge");
const CROSSING: (&str, &str) = ("40P01", "transactions that charge several times, while others do or quotas are made");

/// Errors that some operation asks for.
const PROVOKED: [(&str, &str); 5] = [
    ("0A000", "PREPARE TRANSACTION of a charge in the shared mode"),
    ("22023", "a bad argument"),
    ("23505", "a request id used for something else"),
    ("55P03", "a lock timeout of some milliseconds"),
    ("PT429", "require_quota where there is no room"),
];

/// The reason why an error is expected, or nothing.
pub fn expected(state: &str, circumstances: Circumstances) -> Option<&'static str> {
    let mut known = ANYWHERE.to_vec();
    known.extend(circumstances.serializable.then_some(SERIALIZABLE));
    known.extend(circumstances.crossing.then_some(CROSSING));
    known.extend(PROVOKED.iter().filter(|(state, _)| circumstances.provoked == Some(state)));
    known.into_iter().find(|(known, _)| *known == state).map(|(_, reason)| reason)
}

/// What an error means for the session that got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement failed and left nothing; the session goes on.
    Failed { state: String, message: String },
    /// The session is gone, and whatever was asked last may have happened.
    Lost { state: String, message: String },
}

impl Failure {
    pub fn of(error: &Error) -> Failure {
        let (state, message) = (sqlstate(error).to_string(), message(error));
        let survives = error
            .as_db_error()
            .is_some_and(|server| matches!(server.parsed_severity(), Some(Severity::Error)) && !error.is_closed());
        if survives { Failure::Failed { state, message } } else { Failure::Lost { state, message } }
    }
}

/// Severities and SQLSTATEs of a log whose lines begin with `%m [%p] %e %u@%d `.
fn severity(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("] ")?;
    let (state, rest) = rest.split_at_checked(5)?;
    let severity = ["PANIC", "FATAL", "ERROR"].into_iter().find(|it| rest.contains(&format!(" {it}:  ")))?;
    state.chars().all(|it| it.is_ascii_alphanumeric()).then_some((severity, state))
}

/// What sessions are told when the server goes, comes back or is not to be reached, and nothing else.
const FATAL: [(&str, &str); 4] = [
    ("55000", "a worker was started for a database that takes no connections any more"),
    ("08006", "a client was lost"),
    ("08P01", "a client was lost in the middle of a message"),
    ("F0001", "the files of a server that was killed were in use for a moment"),
];

/// Lines of the server's log that should not be there.
pub fn suspicious(log: &str) -> Vec<String> {
    let everything = || ANYWHERE.iter().chain([&SERIALIZABLE, &CROSSING]).chain(&PROVOKED);
    let suspicious = |line: &&str| {
        if line.contains("TRAP: ") || line.contains("stack smashing") || line.contains("panicked at") {
            return true;
        }
        if line.contains("was terminated by signal") {
            return !line.contains("signal 9");
        }
        match severity(line) {
            Some(("PANIC", _)) => true,
            Some(("FATAL", state)) => !ANYWHERE.iter().chain(&FATAL).any(|(known, _)| *known == state),
            Some((_, state)) => !everything().any(|(known, _)| *known == state),
            None => false,
        }
    };
    log.lines().filter(suspicious).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_expected_only_where_it_may_be() {
        let none = Circumstances::default();
        assert!(expected("57014", none).is_some());
        for (state, circumstances) in [
            ("40001", Circumstances { serializable: true, ..none }),
            ("40P01", Circumstances { crossing: true, ..none }),
            ("23505", Circumstances { provoked: Some("23505"), ..none }),
        ] {
            assert!(expected(state, none).is_none(), "{state}");
            assert!(expected(state, circumstances).is_some(), "{state}");
        }
        assert!(expected("XX000", none).is_none());
    }

    #[test]
    fn the_log_is_read_by_severity_and_state() {
        let line = |rest: &str| format!("2030-01-01 00:00:00.000 UTC [17] {rest}");
        for harmless in [
            "57014 a@b ERROR:  canceling statement due to statement timeout",
            "00000 @ LOG:  server process (PID 3) was terminated by signal 9: Killed",
            "57P03 a@b FATAL:  the database system is starting up",
            "00000 a@b STATEMENT:  select 'PANIC: no'",
        ] {
            assert_eq!(suspicious(&line(harmless)), Vec::<String>::new());
        }
        for suspect in [
            "XX000 a@b ERROR:  cache lookup failed",
            "42501 a@b ERROR:  permission denied",
            "00000 @ LOG:  server process (PID 3) was terminated by signal 11: Segmentation fault",
            "XX000 @ PANIC:  cannot abort transaction",
            "53300 a@b FATAL:  sorry, too many clients already",
        ] {
            assert_eq!(suspicious(&line(suspect)).len(), 1, "{suspect}");
        }
        assert_eq!(suspicious("TRAP: FailedAssertion(\"x\")").len(), 1);
    }
}
