//! A row that the server returned, as constants of a pgbench script.

use anyhow::{Context, Result};
use postgres::{Client, SimpleQueryMessage};

pub struct Constant {
    pub name: String,
    /// An SQL literal with its type.
    pub literal: String,
}

/// The first row of a query.
pub fn row(client: &mut Client, sql: &str) -> Result<Vec<Constant>> {
    let statement = client.prepare(sql).with_context(|| format!("cannot prepare {sql}"))?;
    let messages = client.simple_query(sql).with_context(|| format!("cannot run {sql}"))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.with_context(|| format!("no row from {sql}"))?;
    let constant = |(index, column): (usize, &postgres::Column)| Constant {
        name: column.name().to_string(),
        literal: literal(row.get(index), column.type_().name()),
    };
    Ok(statement.columns().iter().enumerate().map(constant).collect())
}

/// Colons are escaped, as pgbench would take what follows one for a variable.
fn literal(text: Option<&str>, kind: &str) -> String {
    match text {
        None => format!("null::{kind}"),
        Some(text) => {
            let escaped = text.replace('\\', r"\\").replace('\'', "''").replace(':', r"\x3a");
            format!("E'{escaped}'::{kind}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_finds_no_variable_in_a_literal() {
        assert_eq!(literal(Some(r#"{"a": "it's \n"}"#), "jsonb"), r#"E'{"a"\x3a "it''s \\n"}'::jsonb"#);
        assert_eq!(literal(None, "uuid"), "null::uuid");
    }
}
