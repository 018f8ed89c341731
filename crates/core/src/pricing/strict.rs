//! JSON as a price list has to be. No object has a key twice with different values, of which a usual reader would lose
//! all but one. Nothing is nested too deep.

use serde::de::{DeserializeSeed, Error};
use serde_json::Value;

use super::list::quoted;
use crate::json::{Reader, Rule};

/// The deepest nesting of a price list; the real one has four levels.
pub const MAX_LEVELS: usize = 32;

/// Reads the text, or says in one sentence without its full stop why it is no price list.
pub fn read(text: &str) -> Result<Value, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Reader(Strict { levels: 0 }).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let said = error.to_string();
        match error.is_data() {
            true => format!("the price list {}", said.strip_suffix(&place).unwrap_or(&said)),
            false => format!("the price list is not JSON: {said}"),
        }
    })
}

/// Within so many objects and lists.
#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Rule for Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.levels == MAX_LEVELS {
            return Err(E::custom(format_args!("is nested more than {MAX_LEVELS} deep")));
        }
        Ok(Self { levels: self.levels + 1 })
    }

    fn again<E: Error>(self, key: &str, is_same: bool) -> Result<(), E> {
        if is_same {
            return Ok(());
        }
        Err(E::custom(format_args!("has the key {} twice in one object", quoted(key))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::properties::any_json;
    use super::*;
    use crate::json;
    use proptest::prelude::*;

    fn problem(text: &str) -> Option<String> {
        read(text).err()
    }

    #[test]
    fn all_of_json_is_read_as_it_is_written() {
        let text = r#"{"a":[null,true,false,-1,18446744073709551615,1.30e-10,0.1000,-0,"\u00e4\n\""],"b":{},"c":[]}"#;
        let read = read(text).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
        assert!(read.to_string().contains("[null,true,false,-1,18446744073709551615,1.30e-10,0.1000,-0,"), "{read}");
    }

    #[test]
    fn a_key_twice_in_one_object_is_found_however_it_is_written() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":{},"b":[1,{"a":2}],"a":3}]}"#, r#"{"a":1, "\u0061":2}"#] {
            assert_eq!(
                problem(text).as_deref(),
                Some("the price list has the key \"a\" twice in one object"),
                "{text}"
            );
        }
        for text in [r#"{"a":"a","b":{"a":"b"},"c":["a","a",{"a":1},{"a":1}]}"#, r#"{"a\"":1,"a":2}"#] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_twice_with_the_same_value_is_taken() {
        let twice = r#"{"a":{"b":[1e-6,null]},"c":1,"a":{"b":[1e-6,null]}}"#;
        assert_eq!(read(twice).unwrap().to_string(), r#"{"a":{"b":[1e-6,null]},"c":1}"#);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, why) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            (r#"{"a"#, "EOF while parsing a string at line 1 column 3"),
            ("[\"\\", "EOF while parsing a string at line 1 column 3"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("[01]", "invalid number at line 1 column 3"),
        ] {
            assert_eq!(problem(text).unwrap(), format!("the price list is not JSON: {why}"));
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let lists = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let objects =
            |levels: usize, inmost: &str| format!("{}{inmost}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert_eq!((problem(&lists(MAX_LEVELS)), problem(&objects(MAX_LEVELS, "1.5"))), (None, None));
        for text in [lists(MAX_LEVELS + 1), lists(10_000), objects(MAX_LEVELS, "{}"), objects(10_000, "1")] {
            assert_eq!(problem(&text).as_deref(), Some("the price list is nested more than 32 deep"));
        }
    }

    proptest! {
        /// Whatever is written; and what a usual reader makes of it, where no key stands twice.
        #[test]
        fn any_text_is_read_or_refused(text in ".*", json in any_json(), cut in 0..40_usize) {
            let _ = read(&text);
            let written = json.to_string();
            let _ = read(written.get(cut..).unwrap_or_default());
            let _ = read(&format!("{{\"$serde_json::private::Number\":{written}}}"));
            prop_assert_eq!(read(&written), Ok(json::parse(&written).unwrap()));
        }
    }
}
