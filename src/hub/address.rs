//! Addresses: which may be fetched, how they are shown, and what their files are called here.
//!
//! What stands after `?` may be a signature, so it is sent and pinned, and shown nowhere.
//!
//! Deliberately absent: asking anything of an address.

use reqwest::Url;

use super::HubError;

/// Only what cannot be read on the way and asks for no password; on this machine nothing is on the way.
///
/// # Errors
/// Anything else, with the reason.
pub(super) fn check(address: &str) -> Result<(), HubError> {
    let wrong = |address: String, reason: &str| {
        Err(HubError::Address {
            address,
            reason: reason.to_owned(),
        })
    };
    let Ok(url) = Url::parse(address) else {
        return wrong(without_query(address), "it cannot be read");
    };
    if !url.username().is_empty() || url.password().is_some() {
        let host = url.host_str().unwrap_or_default();
        return wrong(
            format!("{}://{host}", url.scheme()),
            "it holds a name or a password",
        );
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here(&url) => Ok(()),
        _ => wrong(without_query(address), "only https is fetched"),
    }
}

/// Whether a redirect keeps what is fetched from being read on the way.
pub(super) fn may_follow(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && (from.scheme() == "http" || is_here(to)))
}

fn is_here(url: &Url) -> bool {
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    url.host_str().is_some_and(|host| loopback.contains(&host))
}

/// An address as it may be shown.
pub(super) fn without_query(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    address[..end].to_owned()
}

/// The name of the file behind an address; its ending may say its format.
pub(super) fn file_name(address: &str) -> String {
    let address = without_query(address);
    let name = address
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    as_name(name)
}

/// A name as one on this machine, whatever the system.
pub(super) fn as_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| match c {
            '\\' | ':' | '*' | '"' | '<' | '>' | '|' | '\0'..='\x1f' => '_',
            other => other,
        })
        .take(200)
        .collect();
    match name.as_str() {
        "" | "." | ".." => "file".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_signature() {
        assert_eq!(
            without_query("https://cdn.example/x/y.csv?token=secret#z"),
            "https://cdn.example/x/y.csv"
        );
    }

    #[test]
    fn a_file_has_the_last_name_of_its_address_and_never_one_that_leads_elsewhere() {
        for (address, name) in [
            ("https://example.org/data/train.csv", "train.csv"),
            ("https://example.org/data/train.csv?x=/a/b", "train.csv"),
            ("https://example.org/a/..", "file"),
            ("https://example.org/a/..\\b.csv", ".._b.csv"),
            ("https://example.org/C:x", "C_x"),
            ("https://example.org", "example.org"),
        ] {
            assert_eq!(file_name(address), name, "{address}");
        }
        assert!(file_name(&format!("https://x/{}", "ü".repeat(5000))).len() <= 400);
    }

    #[test]
    fn only_what_is_encrypted_or_on_this_machine_is_fetched() {
        for good in [
            "https://example.org/x.csv",
            "http://localhost:1/x.csv",
            "http://[::1]/x.csv",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/x",
            "ftp://example.org/x",
            "file:///etc/passwd",
            "https://name:sesame@example.org/x",
            "https://name@example.org/x",
            "http://localhost.example.org/x",
            "x",
            "",
        ] {
            let error = check(bad).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn no_redirect_leads_from_an_encrypted_address_to_an_open_one() {
        let url = |text: &str| Url::parse(text).unwrap();
        let may = |from: &str, to: &str| may_follow(&url(from), &url(to));
        assert!(may("https://a/", "https://b/"));
        assert!(may("http://a/", "http://b/"));
        assert!(may("https://a/", "http://127.0.0.1/"));
        assert!(!may("https://a/", "http://b/"));
        assert!(!may("http://a/", "ftp://b/"));
    }
}
