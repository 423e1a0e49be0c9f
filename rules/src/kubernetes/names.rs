//! What the API server accepts as a name, a label key, a label value.

/// The longest object name.
pub(crate) const NAME_LENGTH_MAX: usize = 253;

/// A DNS subdomain: labels of `a-z0-9-` joined by dots, at most 253 characters.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= NAME_LENGTH_MAX
        && name
            .split('.')
            .all(|label| is_dns_part(label) && !label.is_empty())
}

/// A DNS label: `a-z0-9-`, not at either end a `-`, at most 63 characters.
pub(crate) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

fn is_dns_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

/// A label key: `[prefix/]name`, the prefix a DNS subdomain, the name 1 to 63 of `A-Za-z0-9-_.` with a letter or
/// digit at both ends.
pub(crate) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_word(name),
        None => is_label_word(key),
    }
}

/// A label value: empty, or like the name part of a key.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_word(value)
}

fn is_label_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains() {
        for name in ["a", "web-0", "a.b.c", "0", &"a".repeat(253)] {
            assert!(is_dns_subdomain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A",
            "a_b",
            "-a",
            "a-",
            "a-.b",
            "é",
            &"a".repeat(254),
        ] {
            assert!(!is_dns_subdomain(name), "{name}");
        }
        assert!(!is_dns_label("a.b"));
        assert!(!is_dns_label(&"a".repeat(64)));
    }

    #[test]
    fn label_keys_and_values() {
        for key in ["app", "App.kubernetes_io-x", "example.com/app", "0"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in [
            "",
            "/app",
            "a/",
            "a/b/c",
            "Example.com/app",
            "-a",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(!is_label_key(key), "{key}");
        }
        for value in ["", "v", "V_1.2-x", &"a".repeat(63)] {
            assert!(is_label_value(value), "{value}");
        }
        for value in [" ", "-", "a-", "a/b", "é", &"a".repeat(64)] {
            assert!(!is_label_value(value), "{value}");
        }
    }
}
