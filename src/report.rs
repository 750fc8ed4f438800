//! Reports: pages of HTML that show what a pipeline found.
//!
//! A page is one file that needs nothing else: styles, script and data lie in it, it asks for no address, and its content
//! security policy forbids it to ([`document`]). Its charts are plain SVG drawn in the browser by `charts.js`, so that data
//! is written once and a reader can filter it. What comes from a spec or a data set (names, messages) is *data*: it enters
//! the page as JSON that no parser of HTML can leave ([`embed`]), and the script puts it into text nodes, never into
//! markup.
//!
//! A page is a module of its own with its markup, style and script beside it ([`sweep`], [`evaluation`]); the skeleton here, `base.css`
//! and `charts.js` are common to all.
//! What the page of an evaluation shows is [gathered](gather) from artifacts.
//!
//! Deliberately absent: a template language, libraries of others, and a server (`serve` has a page of its own, with this
//! skeleton).

pub mod evaluation;
pub mod gather;
pub mod sweep;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("report/base.css");
const CHARTS: &str = include_str!("report/charts.js");

/// The parts of a page that are its own.
pub(crate) struct Parts<'a> {
    pub(crate) title: &'a str,
    /// What stands in the body.
    pub(crate) body: &'a str,
    /// Laid over the common style.
    pub(crate) style: &'a str,
    /// Run in this order after the common script, in one scope with it.
    pub(crate) scripts: &'a [&'a str],
    /// Whether it may ask the server that it came from.
    pub(crate) asks: bool,
}

/// A page and what it may do.
pub(crate) struct Page {
    pub(crate) html: String,
    /// Its content security policy, which stands in it.
    pub(crate) policy: String,
}

/// A whole page. Its script reads the data with `embedded("data")`.
pub(crate) fn document(parts: &Parts, data: &impl Serialize) -> Page {
    let style = format!("\n{STYLE}{}", parts.style);
    // The braces keep names of the script out of the window.
    let script = format!(
        "\n\"use strict\";\n{{\n{CHARTS}{}}}\n",
        parts.scripts.concat()
    );
    // Only this script and this style may do anything here, and nothing may be fetched from elsewhere.
    let policy = format!(
        "default-src 'none'; img-src data:; {}script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        if parts.asks {
            "connect-src 'self'; "
        } else {
            ""
        },
        digest(&script),
        digest(&style)
    );
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"#,
        title = text(parts.title),
        body = parts.body,
        data = embed(data),
    );
    Page { html, policy }
}

/// The source expression by which a policy allows an inline script or style.
fn digest(content: &str) -> String {
    format!(
        "sha256-{}",
        BASE64_STANDARD.encode(Sha256::digest(content.as_bytes()))
    )
}

/// JSON that stays inside its `script` element, whatever the data is.
///
/// `<`, `>` and `&` occur in JSON only within strings, where an escape means the same; so do U+2028 and U+2029, which end
/// a line for some readers. A number that is not finite becomes `null`.
fn embed(data: &impl Serialize) -> String {
    // Only a map with keys that are no text could fail, and no page has one.
    let json = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let mut safe = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    safe
}

/// Text as it stands between tags, or in quotes as the value of an attribute.
fn text(plain: &str) -> String {
    let mut safe = String::with_capacity(plain.len());
    for letter in plain.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_closes_no_element(words in any::<String>(), around in "[</>&!a-z\u{2028}\u{2029}-]{0,20}") {
            let plain = format!("{around}{words}</script><!--{around}");
            let embedded = embed(&plain);
            let left = embedded.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
            prop_assert!(!left, "{}", embedded);
            prop_assert_eq!(serde_json::from_str::<String>(&embedded).unwrap(), plain);
        }

        #[test]
        fn any_title_comes_back_and_opens_no_element(plain in any::<String>()) {
            let safe = text(&plain);
            let left = safe.contains(['<', '>', '"', '\'']);
            prop_assert!(!left, "{}", safe);
            let back = safe.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(back, plain);
        }
    }

    #[test]
    fn a_key_is_escaped_as_a_value_is() {
        let data = serde_json::json!({ "</script>": ["<!--", 1.5] });
        assert_eq!(embed(&data), r#"{"\u003c/script\u003e":["\u003c!--",1.5]}"#);
    }

    #[test]
    fn the_policy_allows_the_script_and_the_style_of_the_page_alone() {
        let parts = Parts {
            title: "a <b>",
            body: "<main></main>\n",
            style: "p { color: red }",
            scripts: &["let a = 1;\n", "let b = 2;\n"],
            asks: false,
        };
        let Page { html: page, policy } = document(&parts, &"x");
        assert!(
            page.contains(&policy) && !policy.contains("connect-src"),
            "{policy}"
        );
        assert!(page.contains("<title>a &lt;b&gt;</title>"), "{page}");
        for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
            let (_, rest) = page.split_once(open).unwrap();
            let (inner, _) = rest.split_once(close).unwrap();
            assert!(page.contains(&digest(inner)), "{open}");
        }
    }

    /// The relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let digits = colour.trim_start_matches('#');
        let wide: String = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let part = |at: usize| {
            let share = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
            if share <= 0.04045 {
                share / 12.92
            } else {
                ((share + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn both_modes_have_the_contrast_of_level_aa_and_a_scale_that_grey_keeps_in_order() {
        let modes: Vec<&str> = STYLE.split(":root {").skip(1).take(2).collect();
        assert_eq!(modes.len(), 2);
        for mode in modes {
            let colour = |name: &str| {
                let (_, rest) = mode.split_once(&format!("--{name}: ")).unwrap();
                rest.split(';').next().unwrap()
            };
            for ground in ["ground", "card", "wash"] {
                for name in ["ink", "soft", "accent", "bad", "good"] {
                    let found = contrast(colour(name), colour(ground));
                    assert!(found >= 4.5, "{name} on {ground}: {found:.2}");
                }
            }
            let scale: Vec<String> = (0..9).map(|bin| format!("b{bin}")).collect();
            let chosen: Vec<String> = (0..4).map(|place| format!("chosen{place}")).collect();
            for name in scale
                .iter()
                .chain(&chosen)
                .map(String::as_str)
                .chain(["none"])
            {
                let found = contrast(colour(name), colour("card"));
                assert!(found >= 3.0, "{name} on card: {found:.2}");
            }
            let contrasts: Vec<f64> = scale
                .iter()
                .map(|name| contrast(colour(name), colour("card")))
                .collect();
            assert!(contrasts.is_sorted(), "{contrasts:.2?}");
        }
    }

    #[test]
    fn a_script_makes_no_markup_and_asks_for_nothing() {
        let scripts = sweep::SCRIPTS.iter().chain(&evaluation::SCRIPTS);
        for script in scripts.chain([&CHARTS]) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "fetch(",
                "XMLHttpRequest",
                "import(",
                "</",
            ] {
                assert!(!script.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn the_parts_of_a_page_hold_no_end_of_their_element() {
        for part in [CHARTS, STYLE] {
            assert!(!part.contains("</") && !part.contains("<!--"));
        }
    }
}
