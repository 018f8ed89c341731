//! Names in addresses: lower-case ASCII letters, digits and single hyphens between them, at most 63 of all.

/// Longest slug, as a label of a host name.
const MAX_TTL: usize = 63;
/// What is kept of a name, so that a suffix fits.
const MAX_BASE: usize = 50;

pub fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_TTL
        && text.bytes().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// Names that people take for the service itself, or for another company's. The server alone gives them to a tenant.
const RESERVED: &str = "\
    about account accounts admin administrator amazon anon anonymous anthropic api app apps assets auth \
    authenticated aws azure billing blog cdn claude cohere config console copilot dashboard deepseek docs e2b \
    email everyone ftp functions gemini google graphql help host hostmaster info internal invite legal localhost \
    login logout mail meta metrics microsoft mistral new nobody null oauth openai owner personal pg-tollgate \
    platform postgres postmaster public realtime register rest root security service service-role settings \
    signin signup sso staff static status storage supabase support system team tenant webmaster www xai";

pub fn is_reserved(slug: &str) -> bool {
    RESERVED.split(' ').any(|name| name == slug)
}

/// A slug out of any text; `tenant` where nothing of it can be kept.
pub fn slug_of(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        if slug.len() >= MAX_BASE {
            break;
        }
        let lower = character.to_ascii_lowercase();
        if lower.is_ascii_lowercase() || lower.is_ascii_digit() {
            slug.push(lower);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "tenant".to_owned() } else { slug.to_owned() }
}

/// The slug to try next: as it is where it is free, then with eight hexadecimal digits of randomness.
pub fn attempt(base: &str, number: usize, random: u64) -> String {
    if number == 0 && !is_reserved(base) { base.to_owned() } else { format!("{base}-{:08x}", random >> 32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_slugs() {
        for (name, slug) in [
            ("Ann Lee", "ann-lee"),
            ("  --Acme, Inc.-- ", "acme-inc"),
            ("ann+test", "ann-test"),
            ("Müller", "m-ller"),
            ("日本", "tenant"),
            ("", "tenant"),
        ] {
            assert_eq!(slug_of(name), slug);
        }
        assert!(!is_slug("Ann") && !is_slug("a--b") && !is_slug("-a") && !is_slug("a-") && !is_slug("a_b"));
    }

    #[test]
    fn a_reserved_name_is_given_with_a_suffix() {
        assert!(RESERVED.split(' ').all(|name| is_slug(name) && is_reserved(name)));
        assert_eq!(attempt("admin", 0, 0x0123_4567_89ab_cdef), "admin-01234567");
        assert_eq!(attempt("admins", 0, 0), "admins");
    }

    proptest! {
        #[test]
        fn whatever_is_made_is_a_slug(name in ".{0,200}", random: u64) {
            for number in [0, 1] {
                prop_assert!(is_slug(&attempt(&slug_of(&name), number, random)));
            }
        }
    }
}
