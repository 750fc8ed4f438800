//! How a name stands in a text.

use super::*;

#[test]
fn a_name_is_a_field_only_where_fields_stand() {
    let stands = |text: &str, name: &str| {
        Names::of(&[name.to_owned()])
            .within(text)
            .into_iter()
            .map(|(_, stands)| stands)
            .max()
    };
    for text in [
        "label: positive It was",
        "Positive: it was",
        "[POSITIVE] it was",
        "it was #positive",
        "it was (positive)",
        "it was\tpositive",
        "sentiment = positive",
    ] {
        assert_eq!(stands(text, "positive"), Some(Stands::AsField), "{text}");
    }
    for text in [
        "a positive film",
        "positive",
        "It was positive.",
        "note: positive people",
    ] {
        assert_eq!(stands(text, "positive"), Some(Stands::AsWord), "{text}");
    }
    for text in ["", "positively", "negative"] {
        assert_eq!(stands(text, "positive"), None, "{text}");
    }
    assert_eq!(
        stands("about Sci/Tech news", "Sci/Tech"),
        Some(Stands::AsWord)
    );
    assert_eq!(
        stands("category: card_arrival when", "card_arrival"),
        Some(Stands::AsField)
    );
}
