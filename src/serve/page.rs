//! The page to try a model in: a text goes in, and the answer is drawn as its task deserves.
//!
//! It is one file like the reports (see `report`), and asks nobody but the server it came from. What comes
//! back enters text nodes, never markup. It holds nothing of the models, which it asks for; so it is open to everybody, also
//! where the models are not, and a token is typed into it and kept nowhere.
//!
//! Deliberately absent: a history of what was asked.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};

use crate::report::{Page, Parts, document};

const MARKS: &str = include_str!("../report/evaluation/marks.js");

/// What runs in the page, in order.
pub const SCRIPTS: [&str; 2] = [
    include_str!("page/answers.js"),
    include_str!("page/page.js"),
];

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let parts = Parts {
        title: "refit serve",
        body: include_str!("page/page.html"),
        style: include_str!("page/style.css"),
        scripts: &[MARKS, SCRIPTS[0], SCRIPTS[1]],
        asks: true,
    };
    document(&parts, &())
});

/// The page, with the policy that allows its own script and style and nothing else.
pub fn response() -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(PAGE.html.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // Hashes and keywords are ASCII.
    if let Ok(policy) = HeaderValue::from_str(&format!("{}; frame-ancestors 'none'", PAGE.policy)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_makes_no_markup_and_asks_in_one_place() {
        let own = SCRIPTS.concat();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "XMLHttpRequest",
            "import(",
            "localStorage",
            "sessionStorage",
            "</",
        ] {
            assert!(!own.contains(word), "{word}");
        }
        assert_eq!(own.matches("fetch(").count(), 1);
    }

    #[test]
    fn the_policy_is_strict_and_the_same_in_page_and_head() {
        let response = response();
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            policy.contains("connect-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let own = policy.strip_suffix("; frame-ancestors 'none'").unwrap();
        assert!(PAGE.html.contains(own));
    }
}
