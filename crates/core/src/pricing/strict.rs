//! What a JSON reader would pass over: a key that an object has twice, of which all but one would be lost.

use std::collections::HashSet;

/// The deepest nesting of a price list; the real one has four levels.
pub const MAX_LEVELS: usize = 32;

/// Says in one sentence without its full stop if an object of the text has a key twice, or nests too deep. Whether it is
/// JSON at all is for the reader to say.
pub fn problem(text: &str) -> Option<String> {
    // The keys of each open object; `None` for a list.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let mut is_key = false;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if open.len() == MAX_LEVELS {
                    return Some(format!("the price list is nested more than {MAX_LEVELS} deep"));
                }
                is_key = byte == b'{';
                open.push(is_key.then(HashSet::new));
            }
            b'}' | b']' => {
                open.pop();
                is_key = false;
            }
            b',' => is_key = matches!(open.last(), Some(Some(_))),
            b':' => is_key = false,
            b'"' => {
                let end = end_of_string(bytes, at)?;
                if is_key
                    && let Some(Some(keys)) = open.last_mut()
                    && let Ok(key) = serde_json::from_str::<String>(text.get(at..=end)?)
                {
                    is_key = false;
                    if keys.contains(&key) {
                        let shown: String = key.chars().filter(|c| !c.is_control()).take(60).collect();
                        return Some(format!("the price list has the key \"{shown}\" twice in one object"));
                    }
                    keys.insert(key);
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string ends that begins here.
fn end_of_string(bytes: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_in_one_object_is_found_however_it_is_written() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":{},"b":[1,{"a":2}],"a":3}]}"#, r#"{"a":1, "\u0061":2}"#] {
            assert_eq!(
                problem(text).as_deref(),
                Some("the price list has the key \"a\" twice in one object"),
                "{text}"
            );
        }
        for text in
            [r#"{"a":"a","b":{"a":"b"},"c":["a","a",{"a":1},{"a":1}]}"#, r#"{"a\"":1,"a":2}"#, "{", r#"{"a"#, "[\"\\"]
        {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(problem(&nested(MAX_LEVELS)), None);
        assert_eq!(problem(&nested(10_000)).as_deref(), Some("the price list is nested more than 32 deep"));
    }
}
