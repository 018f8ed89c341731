//! What can go wrong on a user's path, and how it is told: one SQLSTATE, one sentence, an optional detail and hint.

use std::fmt::Display;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// An error that a caller can act on. Everything else is an internal error raised by Postgres itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// `22023`: an argument is missing, malformed or out of range.
    Invalid { message: String, hint: Option<&'static str> },
    /// `42501`: the caller may not see or do this.
    Forbidden { message: String },
    /// `23505`: a request id was used before for something else.
    Conflict { message: String, detail: Option<String> },
    /// `23505`: what is to be made, or its name, is there already.
    Taken { message: String },
    /// `P0002`: the thing that was named does not exist.
    NotFound { message: String },
    /// `55000`: the thing that was named is not in a state for this.
    State { message: String },
    /// `55000`: the library and the objects of the database are of two versions.
    OtherVersion { message: String, hint: &'static str },
    /// `53400`: something that has a bound is used up.
    Limit { message: String, hint: &'static str },
    /// `0A000`: not in this kind of transaction or query.
    Unsupported { message: String },
    /// `XX000`: a row or value of our own tables is not what this code wrote.
    Internal { message: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: None }
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden { message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// A table of ours has another name or place, or is gone.
    pub fn missing_table(name: impl Display) -> Self {
        Self::State {
            message: format!("the table copilot_internal.{name} is missing: pg_tollgate does not work without it"),
        }
    }

    /// The same error, its message led by where in a batch it arose.
    pub fn at_ordinal(self, ordinal: usize) -> Self {
        let lead = |message: String| format!("record {ordinal}: {message}");
        match self {
            Self::Invalid { message, hint } => Self::Invalid { message: lead(message), hint },
            Self::Forbidden { message } => Self::Forbidden { message: lead(message) },
            Self::Conflict { message, detail } => Self::Conflict { message: lead(message), detail },
            Self::Taken { message } => Self::Taken { message: lead(message) },
            Self::NotFound { message } => Self::NotFound { message: lead(message) },
            Self::State { message } => Self::State { message: lead(message) },
            Self::OtherVersion { message, hint } => Self::OtherVersion { message: lead(message), hint },
            Self::Limit { message, hint } => Self::Limit { message: lead(message), hint },
            Self::Unsupported { message } => Self::Unsupported { message: lead(message) },
            Self::Internal { message } => Self::Internal { message: lead(message) },
        }
    }

    /// Raises the error in Postgres. Does not return: Postgres unwinds the statement.
    #[track_caller]
    pub fn raise(self) -> ! {
        let (code, message, detail, hint) = match self {
            Self::Invalid { message, hint } => (PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, None, hint),
            Self::Forbidden { message } => (PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message, None, None),
            Self::Conflict { message, detail } => (
                PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
                message,
                detail,
                Some("Use a new request id for a new operation, and the same arguments for a retry."),
            ),
            Self::Taken { message } => (PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, message, None, None),
            Self::NotFound { message } => (PgSqlErrorCode::ERRCODE_NO_DATA_FOUND, message, None, None),
            Self::State { message } => (PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, None, None),
            Self::OtherVersion { message, hint } => {
                (PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, None, Some(hint))
            }
            Self::Limit { message, hint } => {
                (PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message, None, Some(hint))
            }
            Self::Unsupported { message } => (PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message, None, None),
            Self::Internal { message } => (PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message, None, None),
        };
        let mut report = ErrorReport::new(code, message, "pg_tollgate");
        if let Some(detail) = detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR report does not return")
    }
}
