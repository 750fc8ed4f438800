//! What is taken for broken, and what real text must be let pass.

use super::*;

#[test]
fn wrongly_decoded_texts_are_told() {
    for (text, found) in [
        ("cafÃ© au lait", "Ã©"),
        ("it â€™s late", "â€™"),
        ("â€œHelloâ€\u{009D}", "â€œ"),
        ("cafÃƒÂ©", "Ãƒ"),
        ("Â£5 off", "Â£"),
        ("5\u{00C2}\u{00A0}km", "\u{00C2}\u{00A0}"),
        ("KÃ–LN", "Ã–"),
        ("FÃœR", "Ãœ"),
        ("price: 10 â‚¬", "â‚¬"),
        ("fun ðŸ˜€", "ðŸ˜€"),
        ("ï»¿text", "ï»¿"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "ÐŸ"),
        ("lost \u{FFFD} byte", "\u{FFFD}"),
        ("bell \u{0007}", "\u{0007}"),
        ("it\u{0092}s", "\u{0092}"),
        ("\u{FEFF}text", "\u{FEFF}"),
    ] {
        assert_eq!(strange(text), Some(found), "{text}");
    }
}

#[test]
fn real_languages_are_let_pass() {
    for text in [
        "Ein „Spaß“, sagte er… Straße, Größe, Äpfel; „TÜV“ „GROß“ — 5 °C",
        "Il a été «élu» à Paris, où l’été… «CAFÉ» naïve Âge Île œuvre, 5 €",
        "AMANHÃ” e “MAÇÔ não é São João; AMANHÃ… ESPAÑA”",
        "Привет, мир! Ñandú. Ελλάδα, Îles",
        "日本語 한국어 العربية हिन्दी Việt Nam Ầ Ã ð þ íslenskt það",
        "fun 😀 ™ ® © ½ × ≤ → ★ tabs\tand\r\nlines",
        "â€ alone? no",
    ] {
        assert_eq!(strange(text), None, "{text}");
    }
}

#[test]
fn tags_and_entities_are_told() {
    for (text, found) in [
        ("<b>bold", "<b>"),
        ("line<br />line", "<br />"),
        ("a </P> b", "</P>"),
        ("see <a href=\"x\">it</a>", "<a href=\"x\">"),
        ("R&amp;D", "&amp;"),
        ("it&#39;s", "&#39;"),
        ("it&#x2019;s", "&#x2019;"),
        ("it #39;s", "#39;"),
        ("he said quot;no", "quot;"),
        ("&lt;#&gt; pounds", "&lt;"),
    ] {
        assert_eq!(markup(text), Some(found), "{text}");
    }
}

#[test]
fn hearts_comparisons_and_placeholders_are_no_markup() {
    for text in [
        "I <3 you",
        "a < b and c > d",
        "a <b",
        "<name> called",
        "AT&T; R&D",
        "#1; first",
        "x<y>=b and i<p",
        "salt; pepper",
        "&c; <-- <i think so>",
    ] {
        assert_eq!(markup(text), None, "{text}");
    }
}

#[test]
fn blank_is_what_shows_nothing() {
    assert!(is_blank("") && is_blank(" \t\n\u{00A0}\u{200B}\u{FEFF}\u{3000}\u{2800}"));
    assert!(!is_blank(".") && !is_blank("😀") && !is_blank("\u{FFFD}"));
}
